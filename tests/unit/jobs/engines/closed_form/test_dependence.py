"""Dependent columns: what is said of them, what is known all the same, and where descent ends. Oracle: statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
import torch

from jobs.engines.closed_form import engine
from jobs.engines.closed_form.dependence import dependences, undetermined
from jobs.engines.closed_form.inference_statistics import statistics_of
from jobs.engines.closed_form.least_squares import normal_equations, solve, weights_of
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import Moments, concatenate, moments_of
from jobs.engines.settings import TrainingSettings, initial_weights
from tests.oracles import grid

Rows2 = tuple[np.ndarray, np.ndarray]
NESTED = ("a=1", "b=1", "b=2", "b=3", "b=4", "b=5", "x")


def nested(num_rows: int = 60, seed: int = 0) -> Rows2:
    """Return rows of a factor within another (three levels in each of two), one-hot, and a number beside them."""
    random = np.random.default_rng(seed)
    within = random.integers(0, 6, num_rows)
    x_n = random.normal(10, 3, num_rows)
    x_nd = np.column_stack([within >= 3, *(within == level for level in range(1, 6)), x_n]).astype(np.float64)
    return x_nd, 2 * x_nd[:, 0] + x_nd[:, 3] - 0.5 * x_n + random.normal(size=num_rows)


def moments(x_nd: np.ndarray, y_n: np.ndarray) -> Moments:
    return moments_of(torch.from_numpy(np.ascontiguousarray(x_nd, dtype=np.float64)), torch.from_numpy(y_n))


def design(x_nd: np.ndarray, bias: bool = True) -> np.ndarray:
    return np.column_stack([x_nd, np.ones(len(x_nd))]) if bias else x_nd


def said(*columns: np.ndarray, bias: bool = True, names: tuple[str, ...] = ("a", "b", "c", "d")) -> tuple[str, ...]:
    x_nd = np.column_stack(columns)
    found = dependences(moments(x_nd, x_nd[:, 0] + np.sin(np.arange(len(x_nd)))), bias, names[: len(columns)])
    return found.get(0, ())


A, B = np.random.default_rng(3).normal([5, -1e3], [1, 40], (30, 2)).T
ONES = np.ones(30)


@pytest.mark.parametrize(
    ("columns", "bias", "expected"),
    [
        ((A, B), True, ()),
        (
            (A, B, A),
            True,
            ("column 'c' is 'a' in every row that trains: only weight decay makes their weights unique",),
        ),
        (
            (A, B, 2 * A - B + 7),
            True,
            ("column 'c' is 2 × 'a' - 'b' + 7 in every row that trains: only weight decay makes their weights unique",),
        ),
        ((A, B, 2 * A - B + 7), False, ()),
        (
            (A, A * -0.5),
            False,
            ("column 'b' is -0.5 × 'a' in every row that trains: only weight decay makes their weights unique",),
        ),
        ((A, 7 * ONES), True, ("column 'b' is 7 in every row that trains: only weight decay makes its weight unique",)),
        ((A, 7 * ONES), False, ()),
        (
            (A, 0 * ONES),
            False,
            ("column 'b' is 0 in every row that trains: only weight decay makes its weight unique",),
        ),
        (
            (A, A, 7 * ONES, A * 1e9),
            True,
            (
                "column 'b' is 'a' in every row that trains: only weight decay makes their weights unique",
                "column 'c' is 7 in every row that trains: only weight decay makes its weight unique",
                "column 'd' is 1e+09 × 'a' in every row that trains: only weight decay makes their weights unique",
            ),
        ),
    ],
)
def test_dependences_say_what_a_column_is_made_of(
    columns: tuple[np.ndarray, ...], bias: bool, expected: tuple[str, ...]
) -> None:
    assert said(*columns, bias=bias) == expected


def test_dependences_name_the_level_that_holds_those_of_another_column() -> None:
    x_nd, y_n = nested()
    assert dependences(moments(x_nd, y_n), True, NESTED) == {
        0: (
            "column 'b=5' is 'a=1' - 'b=3' - 'b=4' in every row that trains: "
            "only weight decay makes their weights unique",
        )
    }


def test_dependences_of_many_columns_are_counted() -> None:
    x_nd = np.column_stack([A, *(A * factor for factor in range(2, 15))])
    sentences = dependences(moments(x_nd, B), True, [f"x{at}" for at in range(14)])[0]
    assert (len(sentences), sentences[-1]) == (11, "3 more columns depend on others")


def test_dependences_of_a_sum_of_many_are_short() -> None:
    x_nd = np.random.default_rng(0).normal(size=(50, 9))
    (sentence,) = dependences(moments(np.column_stack([x_nd, x_nd.sum(1)]), x_nd[:, 0]), True, [*"abcdefghij"])[0]
    assert sentence.startswith("column 'j' is a sum of multiples of 9 others, such as 'a', 'b', 'c', 'd', 'e', 'f' in ")


def test_dependences_are_by_the_place_of_the_dataset() -> None:
    both = concatenate([moments(np.column_stack([A, B]), A), moments(np.column_stack([A, A]), B)])
    assert [*dependences(both, True, ["a", "b"])] == [1]
    assert undetermined(both, True).rank_m.tolist() == [3, 2]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_descent_ends_at_least_squares_and_does_not_move_along_a_dependence(normalize: bool, bias: bool) -> None:
    x_nd, y_n = nested()
    x_nd = np.column_stack([x_nd, x_nd[:, 6] - x_nd[:, 0]])
    settings = TrainingSettings(epochs=10_000_000, normalize=normalize, bias=bias)
    result = engine.train(moments(x_nd, y_n), [], grid([0.0008 if not normalize else 0.2]), settings)
    weight_p = result.weight_mgp[0, 0].numpy()
    fitted_n = design(x_nd, bias) @ np.linalg.lstsq(design(x_nd, bias), y_n)[0]
    assert result.converged_mg.all()
    np.testing.assert_allclose(design(x_nd, bias) @ weight_p, fitted_n, atol=1e-8)
    if not normalize:
        free_p = np.array([0.0, *np.zeros(5), 1.0, -1.0, 0.0][: 8 + bias]) - np.eye(8 + bias)[0]
        start_p = initial_weights(8, bias, 0).numpy()
        assert np.abs(design(x_nd, bias) @ free_p).max() < 1e-12
        assert weight_p @ free_p == pytest.approx(start_p @ free_p)


def test_loop_ends_where_the_closed_form_does() -> None:
    x_nd, y_n = nested()
    settings = TrainingSettings(epochs=3000, dtype="float64", num_evaluations=4)
    rates = grid([0.005, 0.01])
    of_loop = block_training.train(Rows(torch.from_numpy(x_nd), torch.from_numpy(y_n)), rates, settings)
    closed = engine.train(moments(x_nd, y_n), [], rates, settings)
    np.testing.assert_allclose(of_loop.weight_mgp, closed.weight_mgp, rtol=1e-9, atol=1e-9)
    assert of_loop.converged_mg.tolist() == closed.converged_mg.tolist()


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
@pytest.mark.parametrize("bias", [False, True])
def test_statistics_are_those_of_what_the_data_determine(bias: bool) -> None:
    x_nd, y_n = nested()
    x_nd = np.column_stack([x_nd, np.full(len(x_nd), 7.0), x_nd[:, 6] * 100 - 3])
    weight_p = np.linalg.lstsq(design(x_nd, bias), y_n)[0]
    found = statistics_of(moments(x_nd, y_n), torch.from_numpy(weight_p)[None], bias)
    fit = sm.OLS(y_n, design(x_nd, bias)).fit()
    assert found.degrees_of_freedom_m is not None
    assert found.undetermined_mpp is not None
    assert found.degrees_of_freedom_m.item() == fit.df_resid == len(y_n) - 7
    assert found.residual_variance_m.item() == pytest.approx(fit.mse_resid)
    leverage_n = ((design(x_nd, bias) @ found.inverse_cross_product_mpp[0].numpy()) * design(x_nd, bias)).sum(1)
    np.testing.assert_allclose(leverage_n, fit.get_prediction().var_pred_mean / fit.mse_resid, rtol=1e-9)
    broken_np = design(x_nd, bias)[:4] + np.eye(9 + bias)[[0, 5, 7, 8]] * [[1.0], [1.0], [0.1], [5.0]]
    assert (((design(x_nd, bias) @ found.undetermined_mpp[0].numpy()) * design(x_nd, bias)).sum(1) < 1e-13).all()
    assert (((broken_np @ found.undetermined_mpp[0].numpy()) * broken_np).sum(1) > 1e-11).all()


def test_statistics_of_independent_columns_hold_nothing_more() -> None:
    found = statistics_of(moments(np.column_stack([A, B]), A + np.sin(B)), torch.zeros(1, 3, dtype=torch.float64), True)
    assert (found.degrees_of_freedom_m, found.undetermined_mpp) == (None, None)


def test_weight_decay_has_one_answer_for_more_columns_than_rows() -> None:
    """Source of the oracle: the normal equations of ridge regression, with the bias decayed too, as torch does."""
    random = np.random.default_rng(0)
    x_nd, y_n = random.normal(size=(20, 30)), random.normal(size=20)
    settings = TrainingSettings(epochs=1_000_000)
    result = engine.train(moments(x_nd, y_n), [], grid([0.05], weight_decay=0.1), settings)
    z_np = design(x_nd)
    expected_p = np.linalg.solve(z_np.T @ z_np * (2 / 20) + 0.1 * np.eye(31), z_np.T @ y_n * (2 / 20))
    np.testing.assert_allclose(result.weight_mgp[0, 0], expected_p, rtol=1e-9, atol=1e-12)
    assert result.converged_mg.all()


def nearly_dependent(apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_n, other_n, noise_n = torch.randn(3, 100, generator=generator, dtype=torch.float64)
    return torch.stack([x_n, x_n + apart * other_n], dim=1), 2 * x_n + 3 * (x_n + apart * other_n) + noise_n


@pytest.mark.parametrize(
    ("apart", "precise", "expected"),
    [
        (1e-3, False, None),
        (1e-5, False, "about 4 digits"),
        (1e-7, False, "no digit"),
        (1e-5, True, None),
        (1e-7, True, "about 5 digits"),
    ],
)
def test_dependences_say_how_many_digits_can_be_trusted(apart: float, precise: bool, expected: str | None) -> None:
    moments = moments_of(*nearly_dependent(apart), precise=precise)
    said = dependences(moments, bias=True, names=["a", "b"])
    sentence = f"columns nearly depend on others: {expected} of their weights can be trusted"
    assert said == ({0: (sentence,)} if expected else {})


def test_residual_variance_is_not_lost_in_the_large_weights_of_nearly_dependent_columns() -> None:
    x_nd, y_n = nearly_dependent(1e-7)
    found = moments_of(x_nd, y_n)
    weight_mp = weights_of(found, solve(normal_equations(found, bias=True)), bias=True)
    left_nd, _, _ = np.linalg.svd(design(x_nd.numpy() - found.mean_md.numpy()), full_matrices=False)
    residual_n = y_n.numpy() - left_nd @ (left_nd.T @ y_n.numpy())
    expected = residual_n @ residual_n / (len(y_n) - 3)
    variance = statistics_of(found, weight_mp, bias=True).residual_variance_m.item()
    assert variance == pytest.approx(expected, rel=1e-6)


def test_dependences_do_not_count_digits_of_a_weight_of_zero() -> None:
    x_nd, _ = nearly_dependent(1e-4)
    assert dependences(moments_of(x_nd, 2 * x_nd[:, 0]), bias=True, names=["a", "b"]) == {}
