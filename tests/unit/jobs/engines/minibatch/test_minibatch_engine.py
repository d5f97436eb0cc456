"""The minibatch engine: the wide loop gives each row what a loop of its own in torch gives it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.batches import shuffled
from jobs.engines.minibatch.rows import Rows
from jobs.engines.settings import EarlyStopping, Schedule, TrainingSettings
from jobs.engines.trials import BlockResult
from tests.oracles import article, flat, grid, plain_loop

EPOCHS = 12
LOSSES: dict[str, Any] = {
    "mse": nn.MSELoss(),
    "huber": nn.HuberLoss(delta=0.7),
    "mae": nn.L1Loss(),
    "quantile": lambda predicted, target: pinball(predicted, target, 0.37),
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02},
    "adam": {"weight_decay": 0.02},
    "adamw": {"weight_decay": 0.02},
    "rmsprop": {"weight_decay": 0.02, "momentum": 0.5},
}


def pinball(predicted: Tensor, target: Tensor, quantile: float) -> Tensor:
    above = target - predicted
    return torch.maximum(quantile * above, (quantile - 1) * above).mean()


def rows(num_rows: int = 37, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(num_rows, 3, generator=generator, dtype=torch.float64)
    y_n = x_nd @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.7
    return Rows(x_nd, y_n + 0.5 * torch.randn(num_rows, generator=generator, dtype=torch.float64))


def trained(rates: list[float], data: Rows | None = None, *, columns: Any = None, **values: Any) -> BlockResult:
    recipe = TrainingSettings(**({"epochs": EPOCHS, "dtype": "float64", "keep": "last"} | values))
    return block_training.train(data or rows(), grid(rates, **(columns or {})), recipe)


def torch_loop(data: Rows, rate: float, settings: TrainingSettings, **hyperparameters: Any) -> Tensor:
    """Return the last weights of nn.Linear, the loss and the optimiser of torch, batch by batch, in float64."""
    torch.manual_seed(settings.seed)
    model = nn.Linear(data.x_nd.shape[1], 1, bias=settings.bias).double()
    name = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}[settings.optimizer]
    optimizer = getattr(torch.optim, name)(model.parameters(), rate, **hyperparameters)
    size, n = settings.batch_size or len(data.y_n), len(data.y_n)
    for epoch in range(1, settings.epochs + 1):
        optimizer.param_groups[0]["lr"] = rate * settings.schedule.at(epoch - 1, settings.epochs)
        order_n = shuffled(n, size, settings.seed, epoch)[0] if size < n else torch.arange(n)
        for rows_b in order_n.split(size):
            optimizer.zero_grad()
            LOSSES[settings.loss](model(data.x_nd[rows_b])[:, 0], data.y_n[rows_b]).backward()
            optimizer.step()
    return flat(model)


@pytest.mark.parametrize(
    ("optimizer", "loss", "batch_size"), list(itertools.product(OPTIMIZERS, LOSSES, [None, 8, 16]))
)
def test_minibatch_is_the_torch_loop_under_every_optimizer_and_loss(
    optimizer: str, loss: str, batch_size: int | None
) -> None:
    rates = [0.003, 0.02]
    columns = OPTIMIZERS[optimizer] | {"huber_delta": 0.7, "quantile": 0.37}
    settings = TrainingSettings(EPOCHS, optimizer=optimizer, loss=loss, batch_size=batch_size)  # type: ignore[arg-type]
    result = trained(rates, columns=columns, optimizer=optimizer, loss=loss, batch_size=batch_size)
    for g, rate in enumerate(rates):
        expected_p = torch_loop(rows(), rate, settings, **OPTIMIZERS[optimizer])
        torch.testing.assert_close(result.weight_mgp[0, g], expected_p, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "schedule", [Schedule("step", every=3, factor=0.5), Schedule("cosine"), Schedule("inverse_time", decay=0.3)]
)
def test_minibatch_follows_the_schedule(schedule: Schedule) -> None:
    expected_p = torch_loop(rows(), 0.05, TrainingSettings(EPOCHS, batch_size=10, schedule=schedule))
    torch.testing.assert_close(trained([0.05], batch_size=10, schedule=schedule).weight_mgp[0, 0], expected_p)


@pytest.mark.parametrize("batch_size", [1, 12, 36, 37, 1000])
def test_minibatch_of_any_batch_size_is_the_torch_loop(batch_size: int) -> None:
    expected_p = torch_loop(rows(), 0.01, TrainingSettings(EPOCHS, batch_size=batch_size))
    torch.testing.assert_close(trained([0.01], batch_size=batch_size).weight_mgp[0, 0], expected_p)


@pytest.mark.parametrize("batch_size", [7, 8])
def test_minibatch_without_a_bias_is_the_torch_loop(batch_size: int) -> None:
    expected_p = torch_loop(rows(), 0.01, TrainingSettings(EPOCHS, batch_size=batch_size, bias=False))
    result = trained([0.01], batch_size=batch_size, bias=False)
    assert result.weight_mgp.shape[2] == 3
    torch.testing.assert_close(result.weight_mgp[0, 0], expected_p)


def test_minibatch_on_the_articles_data_is_the_plain_loop_in_float32() -> None:
    x_nd, y_n = article("area")
    result = trained([0.01, 0.1], Rows(x_nd, y_n), epochs=1000, dtype="float32")
    for g, rate in enumerate([0.01, 0.1]):
        run = plain_loop(x_nd, y_n, [1000], rate)
        torch.testing.assert_close(result.weight_mgp[0, g], run.weight_ep[-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_minibatch_row_is_the_same_in_any_grid(optimizer: str) -> None:
    alone = trained([0.02], batch_size=8, optimizer=optimizer, loss="huber")
    columns = {"huber_delta": [5.0, 1.0, 1.0], "weight_decay": [0.1, 0.0, 0.0]}
    among = trained([0.01, 0.02, 0.3], columns=columns, batch_size=8, optimizer=optimizer, loss="huber")
    torch.testing.assert_close(among.weight_mgp[0, 1], alone.weight_mgp[0, 0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(among.train_curve_mge[0, 1], alone.train_curve_mge[0, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch_size", [8, 16])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_minibatch_row_that_diverges_leaves_the_others_as_they_are(momentum: float, batch_size: int) -> None:
    columns, values = {"momentum": momentum}, {"batch_size": batch_size, "epochs": 60, "dtype": "float32"}
    with_it = trained([0.01, 5.0, 0.02], columns=columns, **values)
    without = trained([0.01, 0.02], columns=columns, **values)
    assert [with_it.status(0, g) == "diverged" for g in range(3)] == [False, True, False]
    assert with_it.weight_mgp[0, 1].isnan().all()
    torch.testing.assert_close(with_it.weight_mgp[0, [0, 2]], without.weight_mgp[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(with_it.train_curve_mge[0, [0, 2]], without.train_curve_mge[0], rtol=1e-6, atol=1e-6)


def test_minibatch_grid_that_diverges_as_a_whole_has_no_weights() -> None:
    result = trained([50.0, 90.0], epochs=200, dtype="float32")
    assert (result.diverged_at_mg > 0).all()
    assert result.weight_mgp.isnan().all()
    assert result.metric("train_mse").isnan().all()


def test_minibatch_is_the_same_again() -> None:
    first, second = (trained([0.01, 0.1], batch_size=8, dtype="float32") for _ in range(2))
    assert torch.equal(first.weight_mgp, second.weight_mgp)


def test_minibatch_of_another_seed_starts_and_shuffles_otherwise() -> None:
    first, second = (trained([0.01], batch_size=8, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.weight_mgp, second.weight_mgp)


def test_minibatch_leaves_the_global_random_state_as_it_was() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    trained([0.01], batch_size=8)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_minibatch_leaves_the_rows_as_they_were() -> None:
    data = rows()
    x_nd, y_n = data.x_nd.clone(), data.y_n.clone()
    trained([0.1], data, normalize=True, loss="mae", optimizer="adam", batch_size=8)
    assert torch.equal(data.x_nd, x_nd)
    assert torch.equal(data.y_n, y_n)


def test_batches_of_an_epoch_depend_on_seed_and_epoch() -> None:
    orders = [shuffled(100, 8, seed, epoch)[0] for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[3])


@pytest.mark.parametrize(("num_rows", "batch_size"), [(100, 8), (103, 103), (7, 1), (70_001, 1), (200_000, 3)])
def test_every_row_is_in_one_batch_where_rows_come_as_they_stand(num_rows: int, batch_size: int) -> None:
    order_n, bounds_b = shuffled(num_rows, batch_size, seed=1, epoch=2)
    assert bounds_b.tolist() == [*range(0, num_rows, batch_size), num_rows]
    assert order_n.sort().values.equal(torch.arange(num_rows))
    batches = order_n.split(batch_size)
    assert all(bool((batch.diff() > 0).all()) for batch in batches[:1000])
    assert num_rows < 100 or not order_n.equal(torch.arange(num_rows)) or len(batches) == 1


def test_batches_take_rows_from_everywhere() -> None:
    order_n, _ = shuffled(100_000, 1000, seed=0, epoch=1)
    means = torch.stack([batch.double().mean() for batch in order_n.split(1000)])
    error = 100_000 / 12**0.5 / 1000**0.5  # of the mean of a thousand places
    assert float((means - 50_000).abs().max()) < 5 * error
    assert float(means.std()) == pytest.approx(error, rel=0.3)


@pytest.mark.parametrize("loss", LOSSES)
def test_minibatch_reports_the_loss_and_the_squared_error_of_the_kept_weights(loss: str) -> None:
    data = Rows(rows().x_nd, rows().y_n, (torch.arange(37) < 9).long() - 1, num_folds=1)
    result = trained([0.05], data, loss=loss, keep="best", columns={"huber_delta": 0.7, "quantile": 0.37})
    residual_n = data.x_nd @ result.weight_mgp[0, 0, :-1] + result.weight_mgp[0, 0, -1]
    for part, at in ((slice(9, None), "train"), (slice(0, 9), "val")):
        predicted, target = residual_n[part], data.y_n[part]
        error, value = (getattr(result, f"{at}_{name}_mg").item() for name in ("mse", "loss"))
        assert error == pytest.approx((predicted - target).square().mean().item(), rel=1e-9)
        assert value == pytest.approx(LOSSES[loss](predicted, target).item(), rel=1e-9)


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_minibatch_stops_a_row_when_its_loss_stands_still(loss: str) -> None:
    rule = EarlyStopping(patience=3, tolerance=0.05)
    values = {"epochs": 400, "loss": loss, "batch_size": 8, "keep": "best"}
    free = trained([0.0001, 0.05], **values)
    stopped = trained([0.0001, 0.05], early_stopping=rule, **values)
    for g in range(2):
        num_evaluated = stop_by_hand(free.train_curve_mge[0, g].tolist(), rule)
        seen_e = stopped.train_curve_mge[0, g]
        torch.testing.assert_close(seen_e[:num_evaluated], free.train_curve_mge[0, g, :num_evaluated])
        assert seen_e[num_evaluated:].isnan().all()
        best = free.train_curve_mge[0, g, :num_evaluated].argmin()
        assert stopped.epoch_mg[0, g] == free.epochs_e[best]
    assert stopped.train_curve_mge[0, 1].isnan().any()
    assert stopped.status(0, 1) == "converged"


def stop_by_hand(curve: list[float], rule: EarlyStopping) -> int:
    """Return the number of evaluations until `patience` of them in a row did not improve by `tolerance`."""
    anchor, stale = float("inf"), 0
    for number, loss in enumerate(curve, start=1):
        stale = 0 if loss < anchor * (1 - rule.tolerance) else stale + 1
        anchor = loss if stale == 0 else anchor
        if stale == rule.patience:
            return number
    return len(curve)
