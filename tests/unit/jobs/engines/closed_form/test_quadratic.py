"""The loss along a descent is that of the weights there, to the digits that the cross-products hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form.descent import prepare
from jobs.engines.closed_form.engine import train
from jobs.engines.closed_form.quadratic import loss_along, reached
from jobs.engines.moments import empty_moments, moments_of
from jobs.engines.settings import TrainingSettings, evaluated_epochs
from tests.oracles import grid

EPOCHS = 10_000


def rows(noise: float, offset: float) -> tuple[Tensor, Tensor]:
    """Return rows of columns of several scales, two of them all but equal, and a target."""
    generator = torch.Generator().manual_seed(4)
    x_nd = torch.randn(60, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 30.0, 0.02, 1.0])
    x_nd[:, 3] = x_nd[:, 0] + 1e-5 * x_nd[:, 3]
    y_n = x_nd @ torch.tensor([2.0, -0.1, 50.0, 1.0], dtype=torch.float64) + offset
    return x_nd + offset / 100, y_n + noise * torch.randn(60, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("noise", "offset"), [(1.0, 0.0), (1e-5, 0.0), (1e-3, 1e4)])
def test_loss_along_a_descent_is_that_of_its_weights(normalize: bool, bias: bool, noise: float, offset: float) -> None:
    x_nd, y_n = rows(noise, offset)
    trained, held_out = moments_of(x_nd[:45], y_n[:45]), moments_of(x_nd[45:], y_n[45:])
    settings = TrainingSettings(epochs=EPOCHS, normalize=normalize, bias=bias)
    rate = 0.1 if normalize else 1e-4 / (1 + offset**2 / 1e3)
    rates = [rate * share for share in (1.0, 1.0, 1e-3, 1e-3, 1e-6, 1e-6)]
    hyper = grid(rates, momentum=[0.0, 0.9] * 3, weight_decay=[0.0, 1e-3, 1e-3, 0.0, 0.0, 1e-3])
    descent = prepare(trained, hyper, settings)
    epochs_e = evaluated_epochs(EPOCHS, 30)
    displacement_mgep = descent.displacement(epochs_e.expand(*hyper.learning_rate_mg.shape, -1))
    weight_gep = descent.raw(descent.weights(displacement_mgep))[0]
    for moments, part in ((trained, slice(0, 45)), (held_out, slice(45, 60))):
        loss_ge = loss_along(descent, moments, reached(descent, torch.tensor([[EPOCHS]]))).at(displacement_mgep)[0]
        predicted_gen = weight_gep[..., :4] @ x_nd[part].T + (weight_gep[..., 4:] if bias else 0.0)
        expected_ge = (predicted_gen - y_n[part]).square().mean(-1)
        # The cross-products know a loss to the last digits of the target's variance, the weights those of the target.
        rounding_ge = 1e-14 * y_n.var() + 1e-14 * y_n.abs().max() * expected_ge.sqrt()
        allowed_ge = 1e-12 * expected_ge + rounding_ge
        assert bool(((loss_ge - expected_ge).abs() <= allowed_ge).all())


def test_rate_beyond_all_bounds_leaves_the_others_alone() -> None:
    x_nd, y_n = rows(1.0, 0.0)
    x_nd[:, 3] = x_nd[:, 0]  # a direction that the data do not determine
    settings, moments = TrainingSettings(epochs=EPOCHS, normalize=True), moments_of(x_nd, y_n)
    held_out = [moments_of(x_nd[45:], y_n[45:])]
    alone = train(moments, held_out, grid([0.1]), settings)
    beside = train(moments, held_out, grid([0.1, 1e308]), settings)
    torch.testing.assert_close(beside.val_curve_mge[:, :1], alone.val_curve_mge, rtol=1e-12, atol=0)
    assert beside.diverged_at_mg[0, 1] > 0


def test_loss_over_no_rows_is_a_number() -> None:
    x_nd, y_n = rows(1.0, 0.0)
    descent = prepare(moments_of(x_nd, y_n), grid([0.1]), TrainingSettings(epochs=10))
    displacement_mgep = descent.displacement(torch.tensor([[[1, 10]]]))
    loss_mge = loss_along(descent, empty_moments(1, 4), reached(descent, torch.tensor([[10]]))).at(displacement_mgep)
    assert bool((loss_mge.isfinite() & (loss_mge >= 0)).all())
