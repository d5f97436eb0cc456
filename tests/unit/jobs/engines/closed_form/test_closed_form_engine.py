"""The closed form on what a loop could not do, or not in time: certified fits, dependent columns, a billion epochs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form.certificate import automatic_rates
from jobs.engines.closed_form.engine import train
from jobs.engines.moments import concatenate, moments_of
from jobs.engines.settings import TrainingSettings, initial_weights
from jobs.engines.trials import BlockResult
from tests.oracles import article, certified, grid, plain_loop

ARTICLE_RATES = [0.0005, 0.005, 0.12]


def rows(num_rows: int = 40, num_columns: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(num_rows, num_columns, generator=generator, dtype=torch.float64)
    return x_nd, x_nd.sum(1) + 0.1 * torch.randn(num_rows, generator=generator, dtype=torch.float64)


def digits(weight_p: Tensor, certified_p: Tensor) -> float:
    """Return the digits that agree, of the weight where they are fewest: the log relative error."""
    return -((weight_p - certified_p) / certified_p).abs().log10().amax().item()


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


@pytest.mark.parametrize(("name", "expected"), [("norris", 9), ("longley", 7)])
def test_closed_form_reaches_certified_coefficients(name: str, expected: int) -> None:
    fit = certified(name)
    moments = moments_of(fit.x_nd, fit.y_n)
    settings = TrainingSettings(10**9, normalize=True)
    result = train(moments, [], grid(automatic_rates(moments, settings)[0].tolist()), settings)
    best = int(result.train_mse_mg[0].nan_to_num(nan=torch.inf).argmin())
    assert digits(result.weight_mgp[0, best], fit.coefficient_p) >= expected
    assert result.status(0, best) == "converged"
    predicted_n = fit.x_nd @ result.weight_mgp[0, best, :-1] + result.weight_mgp[0, best, -1]
    certified_n = fit.x_nd @ fit.coefficient_p[:-1] + fit.coefficient_p[-1]
    torch.testing.assert_close(predicted_n, certified_n, rtol=1e-7, atol=1e-9)


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
