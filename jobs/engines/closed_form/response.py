"""The displacement of gradient descent along each eigenvector of the Hessian, after any numbers of steps.

Along an eigenvector with eigenvalue λ, and with gradient 1 at the start, the weight after k steps is -φ_k:
φ_k = (1 - (1 - ηλ)^k) / λ, or kη if λ = 0. A displacement needs no minimiser, and is 0 in a direction that the data do
not determine. With momentum the displacement is a linear recurrence in (displacement, velocity), which is doubled
log2(k) times.

Shapes: t trials · e evaluated epochs, as numbers of steps · p weights in the eigenbasis.
Source: Goh, Why Momentum Really Works (2017); torch.optim.SGD for the order of momentum, nesterov and weight decay.
"""

from __future__ import annotations

import torch
from torch import Tensor


def descent(curvature_tp: Tensor, learning_rate_t: Tensor, steps_te: Tensor) -> Tensor:
    """Return φ of plain gradient descent, of shape (t, e, p), float64; not finite if it overflows."""
    curvature_t1p, steps_te1 = curvature_tp[:, None, :], steps_te[:, :, None].double()
    rate_t1p = learning_rate_t[:, None, None] * curvature_t1p
    # log1p and expm1 keep the digits of slow directions; for ηλ > 1 the factor is negative and its sign alternates.
    log_factor_t1p = torch.where(rate_t1p < 1, torch.log1p(-rate_t1p.clamp(max=1.0)), torch.log((rate_t1p - 1).abs()))
    # At ηλ = 1 the logarithm is -inf, and 0 steps times -inf would be NaN.
    exponent_tep = steps_te1 * log_factor_t1p.clamp(min=torch.finfo(torch.float64).min)
    shrunk_tep = torch.expm1(exponent_tep)
    trial, direction = (~(rate_t1p[:, 0] < 1)).nonzero(as_tuple=True)
    if len(trial):
        sign_te = 1 - 2 * torch.remainder(steps_te1[trial, :, 0], 2)
        shrunk_tep[trial, :, direction] = sign_te * torch.exp(exponent_tep[trial, :, direction]) - 1
    phi_tep = shrunk_tep.neg_().div_(curvature_t1p.clamp(min=torch.finfo(torch.float64).tiny))
    if bool((curvature_t1p > 0).all()):
        return phi_tep
    return torch.where(curvature_t1p > 0, phi_tep, steps_te1 * learning_rate_t[:, None, None])


def descent_with_momentum(
    curvature_tp: Tensor, learning_rate_t: Tensor, momentum_t: Tensor, nesterov_t: Tensor, steps_te: Tensor
) -> Tensor:
    """Return φ of gradient descent with momentum, of shape (t, e, p), float64; not finite if it overflows."""
    eta_t1, mu_t1 = learning_rate_t[:, None], momentum_t[:, None]
    ahead_t1 = torch.where(nesterov_t, momentum_t, 0.0)[:, None]
    rate_tp = eta_t1 * curvature_tp
    # One step maps (displacement, velocity) by [[a, b], [c, f]] and adds (s, v): these are doubled.
    a_tp, b_tp = (
        1 - rate_tp * (1 + ahead_t1),
        -torch.where(nesterov_t[:, None], mu_t1.square(), mu_t1).expand_as(rate_tp),
    )
    c_tp, f_tp = rate_tp, mu_t1.expand_as(rate_tp)
    s_tp, v_tp = -(eta_t1 * (1 + ahead_t1)).expand_as(rate_tp), eta_t1.expand_as(rate_tp)
    displacement_tep = torch.zeros(*steps_te.shape, curvature_tp.shape[1], dtype=torch.float64)
    velocity_tep = torch.zeros_like(displacement_tep)
    for bit in range(int(steps_te.max().item()).bit_length()):
        taken_te1 = ((steps_te >> bit) & 1).bool()[:, :, None]
        moved_tep = a_tp[:, None] * displacement_tep + b_tp[:, None] * velocity_tep + s_tp[:, None]
        turned_tep = c_tp[:, None] * displacement_tep + f_tp[:, None] * velocity_tep + v_tp[:, None]
        displacement_tep = torch.where(taken_te1, moved_tep, displacement_tep)
        velocity_tep = torch.where(taken_te1, turned_tep, velocity_tep)
        s_tp, v_tp = a_tp * s_tp + b_tp * v_tp + s_tp, c_tp * s_tp + f_tp * v_tp + v_tp
        a_tp, b_tp, c_tp, f_tp = (
            a_tp * a_tp + b_tp * c_tp,
            a_tp * b_tp + b_tp * f_tp,
            c_tp * a_tp + f_tp * c_tp,
            c_tp * b_tp + f_tp * f_tp,
        )
    return -displacement_tep


def response(
    curvature_tp: Tensor, learning_rate_t: Tensor, momentum_t: Tensor, nesterov_t: Tensor, steps_te: Tensor
) -> Tensor:
    """Return φ of each trial with its hyperparameters, of shape (t, e, p), float64."""
    if not bool((momentum_t > 0).any()):
        return descent(curvature_tp, learning_rate_t, steps_te)
    return descent_with_momentum(curvature_tp, learning_rate_t, momentum_t, nesterov_t, steps_te)
