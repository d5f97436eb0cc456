"""Losses: torch's values, and autograd's derivatives, the kinks among them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.engines.minibatch.losses import Loss
from jobs.engines.settings import LossName

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
    return Loss(name, torch.tensor([DELTA], dtype=torch.float64), torch.tensor([QUANTILE], dtype=torch.float64))


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
    half = Loss("quantile", torch.ones(1), torch.tensor([0.5], dtype=torch.float64))
    total_g = half.total(torch.tensor([[residual]], dtype=torch.float64))
    assert total_g.item() == pytest.approx(abs(residual) / 2)


def test_loss_has_its_own_parameter_for_each_row() -> None:
    both = Loss("huber", torch.tensor([1.0, 10.0]), torch.tensor([0.5, 0.5]))
    residual_bg = torch.tensor([[4.0, 4.0]])
    assert both.total(residual_bg).tolist() == [3.5, 8.0]
    assert both.take(torch.tensor([1])).total(residual_bg[:, :1]).tolist() == [8.0]
