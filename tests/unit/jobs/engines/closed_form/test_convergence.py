"""What is called converged, by every engine, and after how many epochs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form.certificate import automatic_rates
from jobs.engines.closed_form.convergence import epochs_to_converge, epochs_until_still
from jobs.engines.closed_form.descent import prepare
from jobs.engines.closed_form.engine import train
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import concatenate, moments_of
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult
from tests.oracles import article, certified, digits_of, grid


def rows(seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    return x_nd, x_nd.sum(1) + 3 + noise * torch.randn(60, generator=generator, dtype=torch.float64)


def looped(
    x_nd: Tensor, y_n: Tensor, rates: list[float], points: dict[str, Any] | None = None, **values: Any
) -> BlockResult:
    values = {"epochs": 300, "batch_size": 16} | values
    return block_training.train(Rows(x_nd, y_n), grid(rates, **(points or {})), TrainingSettings(**values))


def test_adam_at_rest_far_from_least_squares_has_not_converged() -> None:
    """Its steps do not grow with the target: after 300 epochs it is a millionth of the way, on a plateau."""
    x_nd, y_n = rows()
    result = looped(x_nd, 1e9 * y_n, [0.01, 1.0], optimizer="adam", normalize="features")
    assert [result.status(0, g) for g in range(2)] == ["not_converged", "not_converged"]
    assert bool((result.gap_mg > 1).all())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_minibatches_near_least_squares_have_converged(optimizer: str) -> None:
    result = looped(*rows(), [0.03], optimizer=optimizer)
    assert result.status(0, 0) == "converged"
    assert 0 < result.gap_mg.item() < 0.0316


def test_minibatches_on_a_plateau_far_from_least_squares_have_not_converged() -> None:
    """A rate near the limit keeps jumping about: its loss stands still, its predictions do not."""
    x_nd, y_n = rows(noise=1.0)
    result = looped(x_nd, y_n, [0.35], batch_size=4, epochs=2000)
    assert result.gap_mg.item() > 0.0316
    assert result.status(0, 0) == "not_converged"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_minibatches_with_weight_decay_are_held_to_the_ridge(optimizer: str) -> None:
    result = looped(*rows(), [0.002], {"weight_decay": 0.5}, optimizer=optimizer, keep="last", epochs=1000)
    assert result.gap_mg.item() < 0.005
    assert result.r2_mg.item() < 0.8


def test_decoupled_weight_decay_has_no_known_limit() -> None:
    result = looped(*rows(), [0.03, 0.03], {"weight_decay": [0.5, 0.0]}, optimizer="adamw", keep="last")
    assert result.gap_mg.isnan().tolist() == [[True, False]]
    assert result.status(0, 1) == "converged"


@pytest.mark.parametrize("loss", ["mae", "huber"])
def test_other_loss_at_rest_worse_than_the_mean_has_not_converged(loss: str) -> None:
    x_nd, y_n = rows()
    result = looped(x_nd, y_n + 1e4, [1e-9], loss=loss)
    assert result.gap_mg.isnan().all()
    assert result.status(0, 0) == "not_converged"


def test_quantile_at_rest_has_converged_though_the_mean_is_nearer() -> None:
    x_nd, y_n = rows(noise=3.0)
    result = looped(x_nd, y_n, [0.01, 0.2], {"quantile": 0.99}, loss="quantile", epochs=2000)
    assert (result.r2_mg < 0).all()
    assert [result.status(0, g) for g in range(2)] == ["not_converged", "converged"]


def test_slow_trial_of_a_loss_without_a_known_limit_has_not_converged_beside_a_faster_one() -> None:
    """Its loss hardly changes for it hardly moves; alone it is told by the change over half its epochs."""
    x_nd, y_n = rows()
    for rates, expected in (([1e-9, 0.3], ["not_converged", "converged"]), ([0.002], ["not_converged"])):
        result = looped(x_nd, y_n, rates, loss="huber", batch_size=None, epochs=1000, num_evaluations=512)
        assert [result.status(0, g) for g in range(len(rates))] == expected


def test_trials_of_other_losses_are_problems_of_their_own() -> None:
    x_nd, y_n = rows()
    points = {"huber_delta": [0.5, 1.0], "weight_decay": [0.0, 0.05]}
    result = looped(x_nd, y_n, [0.3, 0.3], points, loss="huber", batch_size=None, epochs=3000)
    assert [result.status(0, g) for g in range(2)] == ["converged", "converged"]


@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-6), ("float32", 1e-4)])
def test_full_batch_loop_converges_as_far_as_its_precision(dtype: str, allowed: float) -> None:
    result = looped(*rows(), [0.1, 0.001], dtype=dtype, batch_size=None)
    assert [result.status(0, g) for g in range(2)] == ["converged", "not_converged"]
    assert result.gap_mg[0, 0].item() <= allowed


def test_loop_with_rows_that_validate_is_judged_by_its_last_epoch() -> None:
    x_nd, y_n = rows()
    y_n[50:] = 3 + 0.5 * (y_n[50:] - 3)  # what validates has flatter slopes: an early epoch is kept
    part_n = torch.where(torch.arange(60) < 50, -1, 0)
    recipe = TrainingSettings(500, dtype="float64")
    result = block_training.train(Rows(x_nd, y_n, part_n, 1), grid([0.1]), recipe)
    exact = train(moments_of(x_nd, y_n), [moments_of(x_nd[50:], y_n[50:])], grid([0.1]), recipe)
    assert result.epoch_mg.item() == exact.epoch_mg.item() < 500
    assert result.status(0, 0) == exact.status(0, 0) == "converged"


def two_datasets() -> tuple[Any, Hyperparameters]:
    moments = concatenate([moments_of(*rows(1)), moments_of(rows(2)[0] * torch.tensor([1.0, 0.1]), rows(2)[1])])
    points = grid([0.0, 0.0, 0.0], momentum=[0.0, 0.5, 0.0])
    rate_mg = torch.tensor([[0.1, 0.02, 1e-12], [0.3, 0.05, 1.5]], dtype=torch.float64)
    return moments, Hyperparameters(**(vars(points) | {"learning_rate_mg": rate_mg}))


def test_epochs_to_converge_are_the_fewest_for_each_dataset_and_rate() -> None:
    moments, points = two_datasets()
    needed_mg = epochs_to_converge(moments, points, TrainingSettings(1))
    assert (needed_mg == 0).tolist() == [[False, False, True], [False, False, True]]  # too slow; too large
    for m in range(2):
        for g in range(2):
            epochs = int(needed_mg[m, g])
            alone = points.datasets(slice(m, m + 1)).take(torch.tensor([g]))
            for number, expected in ((epochs, "converged"), (epochs - 1, "not_converged")):
                result = train(moments.take(slice(m, m + 1)), [], alone, TrainingSettings(number, keep="last"))
                assert result.status(0, 0) == expected


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.6])
@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"weight_decay": 0.2},
        {"momentum": 0.3},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "nesterov": True, "weight_decay": 0.01},
    ],
)
def test_epochs_until_still_leave_nothing_of_the_way_and_are_not_many_more(
    columns: dict[str, Any], share: float
) -> None:
    settings = TrainingSettings(1, normalize=True)
    moments = moments_of(*rows(1))
    limit = 2 / prepare(moments, grid([0.1], **columns), settings).curvature_mgp.max().item()
    descent = prepare(moments, grid([share * limit], **columns), settings)
    needed = epochs_until_still(descent)

    def share_left(epochs: torch.Tensor) -> float:
        away_mgp = descent.displacement(epochs[:, :, None])[:, :, 0] - descent.limit_mgp
        return (away_mgp / descent.limit_mgp).abs().max().item()

    assert share_left(needed) <= 1e-13  # that of rounding
    assert needed.item() <= 4 or share_left(needed // 2 - 2) > 1e-13


def test_epochs_until_still_are_a_billion_where_descent_does_not_arrive() -> None:
    moments = moments_of(*rows(1))
    limit = 2 / prepare(moments, grid([0.1]), TrainingSettings(1)).spectrum.largest_m.item()
    found = epochs_until_still(prepare(moments, grid([1e-12, limit, 1.5 * limit]), TrainingSettings(1)))
    assert found.tolist() == [[10**9] * 3]


def test_epochs_until_still_need_not_move_what_the_data_do_not_determine() -> None:
    x_nd, y_n = rows(1)
    twice_nd = torch.cat([x_nd, x_nd[:, :1]], dim=1)
    once, twice = (
        epochs_until_still(prepare(moments_of(x, y_n), grid([0.05]), TrainingSettings(1))) for x in (x_nd, twice_nd)
    )
    assert twice.item() <= once.item() < 10**5


@pytest.mark.parametrize("unit", [1.0, 1e9])
def test_epochs_until_still_close_the_gap_of_a_target_in_any_unit(unit: float) -> None:
    x_nd, y_n = rows(1)
    moments, points = moments_of(x_nd, unit * (y_n + 1e4)), grid([0.05])
    result = train(moments, [], points, TrainingSettings(10**9, automatic_epochs=True))
    assert result.status(0, 0) == "converged"
    assert result.epoch_mg.item() < 10**5


@pytest.mark.parametrize(("name", "expected"), [("wampler4", 7), ("wampler5", 5), ("longley", 12), ("norris", 12)])
def test_automatic_epochs_and_rates_give_certified_digits(name: str, expected: int) -> None:
    fit = certified(name)
    moments, settings = moments_of(fit.x_nd, fit.y_n), TrainingSettings(10**9, automatic_epochs=True, normalize=True)
    result = train(moments, [], grid(automatic_rates(moments, settings)[0].tolist()), settings)
    assert digits_of(result.weight_mgp[0, int(result.gap_mg[0].argmin())], fit.coefficient_p) >= expected


@pytest.mark.parametrize("num_folds", [0, 1, 3])
def test_automatic_epochs_are_those_of_each_trial(num_folds: int) -> None:
    x_nd, y_n = rows(1)
    fold_n = torch.arange(len(y_n)) % 3
    fold_n = torch.where(fold_n < num_folds, fold_n, -1)
    data = Rows(x_nd, y_n, fold_n, num_folds) if num_folds else Rows(x_nd, y_n)
    settings = TrainingSettings(10**9, automatic_epochs=True, keep="last")
    points = grid([0.01, 0.1])
    result = train(data.all_rows, data.held_out, points, settings)
    last_g = epochs_until_still(prepare(data.train_moments, points, settings))[0]
    assert result.epoch_mg[0].tolist() == last_g.tolist()
    assert last_g[0] > last_g[1]
    for g in range(2):
        number = int(last_g[g])
        alone = train(data.all_rows, data.held_out, points.take(torch.tensor([g])), TrainingSettings(number))
        torch.testing.assert_close(result.weight_mgp[:, g], alone.weight_mgp[:, 0], rtol=1e-9, atol=1e-9)
        for name in ("train_curve_mge", "val_curve_mge"):
            level_e = getattr(result, name)[0, g, result.epochs_e >= number]
            close = {"rtol": 1e-9, "atol": 1e-12, "equal_nan": True}
            torch.testing.assert_close(level_e, getattr(alone, name)[0, 0, -1].expand(len(level_e)), **close)


def test_automatic_epochs_are_the_same_without_curves() -> None:
    moments, points = two_datasets()
    settings = TrainingSettings(10**9, automatic_epochs=True)
    full, last = (train(moments, [], points, settings, want_curves=wanted) for wanted in (True, False))
    assert torch.equal(full.epoch_mg, last.epoch_mg)
    assert torch.equal(full.diverged_at_mg, last.diverged_at_mg)
    torch.testing.assert_close(full.weight_mgp, last.weight_mgp, equal_nan=True)
    torch.testing.assert_close(full.train_curve_mge[:, :, -1], last.train_curve_mge[:, :, -1], equal_nan=True)


def test_epochs_to_converge_of_the_article() -> None:
    moments = moments_of(*article("area"))
    needed_g = epochs_to_converge(moments, grid([0.0005, 0.12, 0.13]), TrainingSettings(6000))[0].tolist()
    assert needed_g[0] > 40 * needed_g[1] > 0
    assert needed_g[2] == 0
