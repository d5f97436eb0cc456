"""Losses: torch's values, and autograd's derivatives, the kinks among them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.engines.hyperparameters import reads
from jobs.engines.losses import LOSSES, Huber, Loss, Pinball, loss_text
from jobs.engines.settings import LossName, TrainingSettings
from tests.oracles import grid

DELTA, QUANTILE = 0.8, 0.3
RESIDUALS = [-3.0, -DELTA, -0.1, 0.0, 0.1, DELTA, 3.0]
BY_TORCH: dict[str, Any] = {
    "mse": lambda residual: residual.square(),
    "mae": lambda residual: residual.abs(),
    "huber": lambda residual: torch.nn.functional.huber_loss(
        residual, torch.zeros_like(residual), reduction="none", delta=DELTA
    ),
    "quantile": lambda residual: torch.maximum((1 - QUANTILE) * residual, -QUANTILE * residual),
}


def loss(name: LossName) -> Loss:
    return TrainingSettings(1, loss=name).new_loss(grid([0.1], huber_delta=DELTA, quantile=QUANTILE))


@pytest.mark.parametrize("name", BY_TORCH)
def test_loss_total_is_torchs(name: LossName) -> None:
    residual_b = torch.tensor(RESIDUALS, dtype=torch.float64)
    expected = BY_TORCH[name](residual_b).sum()
    torch.testing.assert_close(loss(name).total(residual_b[:, None])[0], expected)


@pytest.mark.parametrize("name", BY_TORCH)
def test_loss_derivative_is_autograds(name: LossName) -> None:
    residual_b = torch.tensor(RESIDUALS, dtype=torch.float64, requires_grad=True)
    (expected_b,) = torch.autograd.grad(BY_TORCH[name](residual_b).sum(), residual_b)
    actual_bg = loss(name).derivative(residual_b.detach()[:, None].clone()) * loss(name).derivative_scale
    torch.testing.assert_close(actual_bg[:, 0], expected_b)


@given(residual=st.floats(-100, 100))
def test_quantile_loss_of_one_half_is_half_the_absolute_error(residual: float) -> None:
    half = Pinball(torch.tensor([0.5], dtype=torch.float64))
    total_g = half.total(torch.tensor([[residual]], dtype=torch.float64))
    assert total_g.item() == pytest.approx(abs(residual) / 2)


def test_loss_has_its_own_parameter_for_each_row() -> None:
    both = Huber(torch.tensor([1.0, 10.0]))
    residual_bg = torch.tensor([[4.0, 4.0]])
    assert both.total(residual_bg).tolist() == [3.5, 8.0]
    assert both.take(torch.tensor([1])).total(residual_bg[:, :1]).tolist() == [8.0]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_by_torch_is_the_same(name: LossName) -> None:
    residual_b = torch.tensor(RESIDUALS, dtype=torch.float64)
    parameters = {"huber_delta": DELTA, "quantile": QUANTILE}
    twin = LOSSES[name].torch_loss(**{key: parameters[key] for key in reads(LOSSES[name])})
    expected = loss(name).total(residual_b[:, None])[0] / len(residual_b)
    torch.testing.assert_close(twin(residual_b, torch.zeros_like(residual_b)), expected)


def test_loss_text_has_the_parameter_of_the_loss() -> None:
    values = {"learning_rate": 0.1, "huber_delta": 1.5, "quantile": 0.9}
    assert [loss_text(name, values) for name in LOSSES] == ["mse", "huber(1.5)", "mae", "quantile(0.9)"]


@pytest.mark.parametrize("key", ["optimizer", "loss"])
def test_settings_refuse_an_unknown_name(key: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key} 'lbfgs' is unknown: write one of (sgd|mse), "):
        TrainingSettings(1, **{key: "lbfgs"})
