"""Folds: each row is scored by a model of the other folds, the squared errors are pooled, as by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form import engine as closed_form
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.rows import Rows
from jobs.engines.settings import EarlyStopping, TrainingSettings, evaluated_epochs
from jobs.engines.trials import BlockResult, EngineName
from tests.oracles import grid, plain_loop

EPOCHS = 40
RATES = [0.02, 0.2]


def rows() -> Rows:
    generator = torch.Generator().manual_seed(0)
    x_nd = torch.randn(23, 2, generator=generator, dtype=torch.float64) + 1.0
    y_n = x_nd[:, 0] - x_nd[:, 1] + torch.randn(23, generator=generator, dtype=torch.float64)
    return Rows(x_nd, y_n, torch.arange(23) % 3, num_folds=3)


def trained(engine: EngineName, rates: list[float], **values: object) -> BlockResult:
    settings = TrainingSettings(EPOCHS, **({"dtype": "float64"} | values))  # type: ignore[arg-type]
    if engine == "closed_form":
        return closed_form.train(rows().all_rows, rows().held_out, grid(rates), settings)
    return block_training.train(rows(), grid(rates), settings)


def pooled_by_hand(rate: float) -> Tensor:
    """Return the pooled mean squared error after each evaluated epoch."""
    data, epochs_e = rows(), evaluated_epochs(EPOCHS, 64).tolist()
    assert data.fold_n is not None
    squares_e = torch.zeros(len(epochs_e), dtype=torch.float64)
    for part in range(3):
        held = data.fold_n == part
        run = plain_loop(data.x_nd[~held], data.y_n[~held], epochs_e, rate, dtype=torch.float64)
        predicted_ne = data.x_nd[held] @ run.weight_ep[:, :-1].T + run.weight_ep[:, -1]
        squares_e += (predicted_ne - data.y_n[held, None]).square().sum(0)
    return squares_e / len(data.y_n)


@pytest.mark.parametrize("engine", ["closed_form", "minibatch"])
def test_folds_score_is_pooled_over_all_rows(engine: EngineName) -> None:
    result = trained(engine, RATES)
    data = rows()
    for g, rate in enumerate(RATES):
        pooled_e = pooled_by_hand(rate)
        best = int(pooled_e.argmin())
        torch.testing.assert_close(result.val_curve_mge[0, g], pooled_e, rtol=1e-8, atol=1e-10)
        assert result.val_mse_mg[0, g].item() == pytest.approx(pooled_e[best].item(), rel=1e-8)
        assert result.epoch_mg[0, g] == result.epochs_e[best]
        kept = plain_loop(data.x_nd, data.y_n, [int(result.epochs_e[best])], rate, dtype=torch.float64)
        torch.testing.assert_close(result.weight_mgp[0, g], kept.weight_ep[-1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("engine", ["closed_form", "minibatch"])
def test_folds_scale_the_features_by_the_rows_that_train(engine: EngineName) -> None:
    data = rows()
    assert data.fold_n is not None
    result = trained(engine, [0.1], normalize="features", keep="last")
    squares = 0.0
    for part in range(3):
        held = data.fold_n == part
        mean_d, scale_d = data.x_nd[~held].mean(0), data.x_nd[~held].std(0, correction=0)
        run = plain_loop((data.x_nd[~held] - mean_d) / scale_d, data.y_n[~held], [EPOCHS], 0.1, dtype=torch.float64)
        predicted_n = (data.x_nd[held] - mean_d) / scale_d @ run.weight_ep[0, :-1] + run.weight_ep[0, -1]
        squares += (predicted_n - data.y_n[held]).square().sum().item()
    assert result.val_mse_mg.item() == pytest.approx(squares / len(data.y_n), rel=1e-8)


@pytest.mark.parametrize("engine", ["closed_form", "minibatch"])
def test_folds_of_which_one_diverges_mark_the_trial(engine: EngineName) -> None:
    result = trained(engine, [0.02, 50.0], dtype="float32")
    assert result.status(0, 0) != "diverged"
    assert result.status(0, 1) == "diverged"
    assert result.metric("val_mse")[0].isnan().tolist() == [False, True]


@pytest.mark.parametrize("loss", ["huber", "mae", "quantile"])
def test_folds_score_squared_error_under_any_loss(loss: str) -> None:
    result = trained("minibatch", [0.05], loss=loss)
    assert result.val_mse_mg.isfinite().all()
    data = rows()
    assert data.fold_n is not None
    squares = 0.0
    for part in range(3):
        held = data.fold_n == part
        settings = TrainingSettings(int(result.epoch_mg), loss=loss, keep="last", dtype="float64")  # type: ignore[arg-type]
        alone = block_training.train(Rows(data.x_nd[~held], data.y_n[~held]), grid([0.05]), settings)
        predicted_n = data.x_nd[held] @ alone.weight_mgp[0, 0, :-1] + alone.weight_mgp[0, 0, -1]
        squares += (predicted_n - data.y_n[held]).square().sum().item()
    assert result.val_mse_mg.item() == pytest.approx(squares / len(data.y_n), rel=1e-8)


def test_folds_that_stop_early_are_scored_at_the_last_epoch_of_all() -> None:
    result = trained("minibatch", [0.3], keep="last", early_stopping=EarlyStopping(2, 0.01))
    assert result.val_mse_mg.isfinite().all()
    assert result.epoch_mg.item() < EPOCHS
