"""The closed form on what a loop could not do, or not in time: certified fits, dependent columns, a billion epochs."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form.certificate import automatic_rates
from jobs.engines.closed_form.engine import train
from jobs.engines.curves import nearest_of_equals
from jobs.engines.moments import concatenate, moments_of
from jobs.engines.settings import TrainingSettings, initial_weights
from jobs.engines.trials import BlockResult
from tests.oracles import article, certified, digits_of, dot, exact_least_squares, grid, plain_loop

ARTICLE_RATES = [0.0005, 0.005, 0.12]


def rows(num_rows: int = 40, num_columns: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(num_rows, num_columns, generator=generator, dtype=torch.float64)
    return x_nd, x_nd.sum(1) + 0.1 * torch.randn(num_rows, generator=generator, dtype=torch.float64)


def test_closed_form_of_the_articles_grid_is_the_plain_loop() -> None:
    """In float32 the loop itself comes to rest up to 2.5e-5 from where it tends: it is held in float64, closer."""
    x_nd, y_n = article("area")
    result = train(moments_of(x_nd, y_n), [], grid([*ARTICLE_RATES, 0.13]), TrainingSettings(6000, keep="last"))
    for g, rate in enumerate(ARTICLE_RATES):
        run = plain_loop(x_nd, y_n, [6000], rate, dtype=torch.float64)
        torch.testing.assert_close(result.weight_mgp[0, g], run.weight_ep[-1], rtol=0, atol=1e-12)
    assert result.status(0, len(ARTICLE_RATES)) == "diverged"
    assert result.weight_mgp[0, -1].isnan().all()


def test_closed_form_of_the_article_predicts_its_number() -> None:
    """At a learning rate of 0.002 and 6,000 epochs the article's prediction at area 3 is 2.4035."""
    result = train(moments_of(*article("area")), [], grid([0.002, 0.12]), TrainingSettings(6000))
    slope, intercept = result.weight_mgp[0, 0].tolist()
    assert 3 * slope + intercept == pytest.approx(2.4035, abs=0.001)
    assert result.r2_mg[0, 1].item() == pytest.approx(0.82778607, abs=1e-8)
    assert result.weight_mgp[0, 1].tolist() == pytest.approx([0.35573936, 1.33604828], abs=1e-8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("norris", 9),
        ("longley", 8),
        ("wampler1", 8),
        ("wampler2", 9),
        ("wampler3", 8),
        ("wampler4", 8),
        ("wampler5", 7),
    ],
)
def test_closed_form_reaches_certified_coefficients(name: str, expected: int) -> None:
    fit = certified(name)
    moments = moments_of(fit.x_nd, fit.y_n)
    settings = TrainingSettings(10**9, normalize=True)
    result = train(moments, [], grid(automatic_rates(moments, settings)[0].tolist()), settings)
    best = int(nearest_of_equals(result.train_mse_mg, result.gap_mg)[0].int().argmax())
    assert digits_of(result.weight_mgp[0, best], fit.coefficient_p) >= expected
    assert result.status(0, best) == "converged"
    predicted_n = fit.x_nd @ result.weight_mgp[0, best, :-1] + result.weight_mgp[0, best, -1]
    certified_n = fit.x_nd @ fit.coefficient_p[:-1] + fit.coefficient_p[-1]
    torch.testing.assert_close(predicted_n, certified_n, rtol=1e-7, atol=1e-9)


def test_closed_form_of_powers_that_no_descent_tells_apart_has_not_converged() -> None:
    """Filip's ten powers have a condition number of 1e15, of 1e20 or more when squared."""
    fit = certified("filip")
    moments = moments_of(fit.x_nd, fit.y_n)
    settings = TrainingSettings(10**9, normalize=True)
    result = train(moments, [], grid(automatic_rates(moments, settings)[0].tolist()), settings)
    assert {result.status(0, g) for g in range(12)} == {"not_converged"}
    certified_n = fit.x_nd @ fit.coefficient_p[:-1] + fit.coefficient_p[-1]
    for g in range(12):
        distance = distance_from(result.weight_mgp[0, g], fit.x_nd, fit.y_n, certified_n)
        assert result.gap_mg[0, g].item() == pytest.approx(distance, rel=0.2)


def distance_from(weight_p: Tensor, x_nd: Tensor, y_n: Tensor, expected_n: Tensor) -> float:
    """Return the root mean square distance of predictions, by the target's deviation."""
    d = x_nd.shape[1]
    predicted_n = x_nd @ weight_p[:d] + (weight_p[d] if len(weight_p) > d else 0.0)
    return ((predicted_n - expected_n).square().mean().sqrt() / y_n.std(correction=0)).item()


SECONDS = 1.7e9 + 3600.0 * torch.arange(40, dtype=torch.float64)
GRADED: dict[str, Tensor] = {
    "seconds": torch.stack([SECONDS, rows(seed=1)[0][:, 0]], dim=1),
    "nanoseconds": torch.stack([1e9 * SECONDS, rows(seed=1)[0][:, 0]], dim=1),
    "excel dates and money": torch.stack([45000 + SECONDS / 86400, 1e7 + 1e6 * rows(seed=2)[0][:, 1]], dim=1),
    "shares to billions": rows(seed=3)[0] * torch.tensor([1e-9, 1.0, 1e12], dtype=torch.float64),
    "the same, off centre": (rows(seed=3)[0] + 3.0) * torch.tensor([1e-9, 1.0, 1e12], dtype=torch.float64),
    "years and sizes": torch.stack([2000 + rows(seed=4)[0][:, 0].round(), 100 * rows(seed=4)[0][:, 1].exp()], dim=1),
    "dependent": torch.stack([SECONDS, SECONDS / 3600, 1e9 * rows(seed=5)[0][:, 0]], dim=1),
    "dependent by rounding": torch.cat([rows()[0], 0.1 * rows()[0][:, :1] + 0.7 * rows()[0][:, 1:2]], dim=1),
    "constant": torch.cat([rows()[0], torch.full((40, 1), 0.1, dtype=torch.float64)], dim=1),
    "equal to the eighth digit": rows()[0][:, :1] + 1e-8 * rows()[0],
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", sorted(GRADED))
def test_closed_form_gap_is_that_of_the_predictions(name: str, normalize: bool, bias: bool) -> None:
    """Whatever the scales of columns: what is called converged predicts what exact least squares does."""
    x_nd = GRADED[name]
    y_n = torch.linalg.svd((x_nd - x_nd.mean(0)) / (x_nd.std(0) + 1e-6))[0][:, :3].sum(1) + 0.1 * rows(seed=6)[1]
    independent = {
        "dependent": [0, 2],
        "dependent by rounding": [0, 1, 2],
        "constant": [0, 1, 2] if bias else [0, 1, 2, 3],
    }
    kept_nd = x_nd[:, independent.get(name, list(range(x_nd.shape[1])))]
    exact_n = exact_least_squares(kept_nd, y_n, bias=bias)
    # Weights that start near 1 are rounded to 1e-16, and predict as well as that times the largest number.
    rounding = 1e-15 * (x_nd.abs().max() / y_n.std()).item() if not normalize else 0.0
    moments = moments_of(x_nd, y_n)
    settings = TrainingSettings(10**9, normalize=normalize, bias=bias)
    result = train(moments, [], grid(automatic_rates(moments, settings)[0].tolist()), settings)
    for g in (0, 6, 10):
        distance = distance_from(result.weight_mgp[0, g], x_nd, y_n, exact_n)
        assert result.gap_mg[0, g].item() == pytest.approx(distance, rel=0.05, abs=1e-7 + rounding)
        if result.status(0, g) == "converged":
            assert distance <= 1.1e-6
    if normalize and name != "equal to the eighth digit":
        assert result.status(0, 10) == "converged"


@pytest.mark.parametrize("epochs", [1, 100, 10**5])
def test_closed_form_of_raw_seconds_is_the_loop_in_exact_arithmetic(epochs: int) -> None:
    """The descent is right before it has converged, though eigenvalues lie 20 powers of ten apart."""
    x_nd, y_n = GRADED["seconds"], rows(seed=6)[1]
    rate = automatic_rates(moments_of(x_nd, y_n), TrainingSettings(epochs))[0, 8].item()
    result = train(moments_of(x_nd, y_n), [], grid([rate]), TrainingSettings(epochs, keep="last"))
    expected_p = exact_descent(x_nd, y_n, rate, epochs)
    torch.testing.assert_close(result.weight_mgp[0, 0], expected_p, rtol=1e-8, atol=0)


def exact_descent(x_nd: Tensor, y_n: Tensor, rate: float, epochs: int) -> Tensor:
    """Return the weights after plain steps, by a power of the matrix of one step, in fractions."""
    start = [Fraction(value) for value in initial_weights(x_nd.shape[1], bias=True, seed=0).tolist()]
    z = [[*map(Fraction, row), Fraction(1)] for row in x_nd.tolist()]
    columns, target = list(zip(*z, strict=True)), [Fraction(value) for value in y_n.tolist()]
    twice = 2 * Fraction(rate) / len(z)
    p = len(start)
    step = [[int(i == j) - twice * dot(columns[i], columns[j]) for j in range(p)] for i in range(p)]
    affine = [[*step[i], twice * dot(columns[i], target)] for i in range(p)] + [[Fraction(0)] * p + [Fraction(1)]]
    power = matrix_power(affine, epochs)
    return torch.tensor([float(dot(power[i], [*start, Fraction(1)])) for i in range(p)], dtype=torch.float64)


def matrix_power(matrix: list[list[Fraction]], exponent: int) -> list[list[Fraction]]:
    """Return a power by squaring; numbers are cut to 400 bits, far beyond what is compared."""
    size = len(matrix)
    result = [[Fraction(int(i == j)) for j in range(size)] for i in range(size)]
    for bit in bin(exponent)[2:]:
        result = product(result, result)
        if bit == "1":
            result = product(result, matrix)
    return result


def product(a: list[list[Fraction]], b: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return a b with 400 bits after the point."""
    exact = [[dot(row, column) for column in zip(*b, strict=True)] for row in a]
    return [[Fraction(round(value * 2**400), 2**400) for value in row] for row in exact]


def test_closed_form_that_predicts_worse_than_the_mean_has_not_converged() -> None:
    """Through the origin, far from it: the limit itself is worse than the mean of the target."""
    x_nd, _ = rows(num_columns=1)
    result = train(
        moments_of(x_nd, x_nd[:, 0] + 100), [], grid([0.1]), TrainingSettings(10**6, bias=False, normalize=True)
    )
    assert result.gap_mg.item() < 1e-9
    assert result.r2_mg.item() < 0
    assert result.status(0, 0) == "not_converged"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_closed_form_leaves_dependent_columns_where_they_started(momentum: float) -> None:
    x_nd, y_n = rows(num_columns=2)
    x_nd = torch.stack([x_nd[:, 0], x_nd[:, 0], x_nd[:, 1]], dim=1)
    result = train(moments_of(x_nd, y_n), [], grid([0.1], momentum=momentum), TrainingSettings(10**6))
    start_p = initial_weights(3, bias=True, seed=0)
    weight_p = result.weight_mgp[0, 0]
    assert (weight_p[0] - weight_p[1]).item() == pytest.approx((start_p[0] - start_p[1]).item(), abs=1e-9)
    assert result.status(0, 0) == "converged"
    reduced = train(moments_of(x_nd[:, 1:], y_n), [], grid([0.1]), TrainingSettings(10**6))
    assert result.train_mse_mg.item() == pytest.approx(reduced.train_mse_mg.item(), rel=1e-9)


def test_closed_form_of_fewer_rows_than_weights_is_the_plain_loop() -> None:
    x_nd, y_n = rows(num_rows=3, num_columns=5)
    result = train(moments_of(x_nd, y_n), [], grid([0.05]), TrainingSettings(300, keep="last"))
    run = plain_loop(x_nd, y_n, [300], 0.05, dtype=torch.float64)
    torch.testing.assert_close(result.weight_mgp[0, 0], run.weight_ep[-1], rtol=1e-9, atol=1e-9)


def test_closed_form_of_badly_scaled_columns_is_the_plain_loop() -> None:
    x_nd, y_n = rows()
    x_nd = x_nd * torch.tensor([1e-3, 1.0, 1e3]) + torch.tensor([0.0, 10.0, 1e4])
    result = train(moments_of(x_nd, y_n), [], grid([1e-9]), TrainingSettings(200, keep="last"))
    run = plain_loop(x_nd, y_n, [200], 1e-9, dtype=torch.float64)
    torch.testing.assert_close(result.weight_mgp[0, 0], run.weight_ep[-1], rtol=1e-8, atol=0)


def test_closed_form_of_weight_decay_ends_at_the_ridge() -> None:
    """SGD's decay μ adds μ‖w‖²/2 to the loss: (XᵀX·2/n + μI) w = 2Xᵀy/n."""
    x_nd, y_n = rows()
    settings = TrainingSettings(10**6, bias=False, keep="last")
    result = train(moments_of(x_nd, y_n), [], grid([0.1], weight_decay=0.5), settings)
    product_pp, cross_p = 2 / 40 * x_nd.T @ x_nd, 2 / 40 * x_nd.T @ y_n
    ridge_p = torch.linalg.solve(product_pp + 0.5 * torch.eye(3, dtype=torch.float64), cross_p)
    torch.testing.assert_close(result.weight_mgp[0, 0], ridge_p, rtol=1e-10, atol=1e-12)


def test_closed_form_of_a_billion_epochs_is_least_squares() -> None:
    x_nd, y_n = rows()
    result = train(moments_of(x_nd, y_n), [], grid([1e-6, 0.1], momentum=[0.0, 0.9]), TrainingSettings(10**9))
    x_np = torch.cat([x_nd, torch.ones(40, 1, dtype=torch.float64)], dim=1)
    least_p = torch.linalg.lstsq(x_np, y_n[:, None]).solution[:, 0]
    for g in range(2):
        torch.testing.assert_close(result.weight_mgp[0, g], least_p, rtol=1e-9, atol=1e-9)
    assert result.epochs_e[-1].item() == 10**9
    assert len(result.epochs_e) <= 64


def test_closed_form_of_a_dataset_is_the_same_in_a_batch() -> None:
    datasets = [moments_of(*rows(seed=seed)) for seed in range(3)]
    settings = TrainingSettings(100)
    rates_mg = torch.tensor([[0.1, 0.9], [0.05, 0.2], [0.3, 0.001]], dtype=torch.float64)
    points = grid([0.0, 0.0], momentum=[0.0, 0.5])
    points = type(points)(**(vars(points) | {"learning_rate_mg": rates_mg}))
    batch = train(concatenate(datasets), [], points, settings)
    for number, moments in enumerate(datasets):
        alone = train(moments, [], points.datasets(slice(number, number + 1)), settings)
        for name in ("weight_mgp", "epoch_mg", "diverged_at_mg", "train_curve_mge", "r2_mg", "converged_mg"):
            torch.testing.assert_close(getattr(batch, name)[number : number + 1], getattr(alone, name), equal_nan=True)


def test_closed_form_in_chunks_is_that_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = concatenate([moments_of(*rows(seed=seed)) for seed in range(5)])
    points = grid([0.1, 0.2])
    points = type(points)(**(vars(points) | {"learning_rate_mg": points.learning_rate_mg.expand(5, -1)}))
    whole = train(moments, [], points, TrainingSettings(50))
    monkeypatch.setattr("jobs.engines.closed_form.engine.MAX_ELEMENTS", 1)
    torch.testing.assert_close(train(moments, [], points, TrainingSettings(50)).weight_mgp, whole.weight_mgp)


def test_closed_form_trains_on_the_rows_that_do_not_validate() -> None:
    x_nd, y_n = rows()
    result = train(moments_of(x_nd, y_n), [moments_of(x_nd[:10], y_n[:10])], grid([0.1]), TrainingSettings(30))
    alone = train(moments_of(x_nd[10:], y_n[10:]), [], grid([0.1]), TrainingSettings(30))
    torch.testing.assert_close(result.train_curve_mge, alone.train_curve_mge)
    torch.testing.assert_close(result.val_mse_mg[0, 0], squared_error(result, x_nd[:10], y_n[:10]))
    assert result.epoch_mg.item() == result.epochs_e[result.val_curve_mge[0, 0].argmin()]


def test_closed_form_keeps_the_epoch_that_validates_best() -> None:
    """A validation row that contradicts the others: the longer training goes on, the worse it gets."""
    x_nd = torch.tensor([[1.0], [2.0], [3.0], [3.0]], dtype=torch.float64)
    y_n = torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=torch.float64)
    held_out = [moments_of(x_nd[3:], y_n[3:])]
    best = train(moments_of(x_nd, y_n), held_out, grid([0.05]), TrainingSettings(1000))
    last = train(moments_of(x_nd, y_n), held_out, grid([0.05]), TrainingSettings(1000, keep="last"))
    assert best.epoch_mg.item() < 100
    assert last.epoch_mg.item() == 1000
    assert best.val_mse_mg.item() < last.val_mse_mg.item()
    assert best.train_mse_mg.item() > last.train_mse_mg.item()


def squared_error(result: BlockResult, x_nd: Tensor, y_n: Tensor) -> Tensor:
    weight_p = result.weight_mgp[0, 0]
    return (x_nd @ weight_p[:-1] + weight_p[-1] - y_n).square().mean()
