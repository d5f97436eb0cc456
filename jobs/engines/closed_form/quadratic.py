"""The mean squared error over some rows along a descent: a quadratic of the displacement, in p numbers instead of n.

The quadratic is expanded about a point near the end of the trials, where the error is computed in full. So the terms
that are added at the end of a curve are small, and lose no digits. The second moments are centred, as they are summed.

Shapes: m datasets · g grid points · e evaluated epochs · t trials of a dataset (all grid points, all epochs) ·
d encoded columns · p weights, also in the eigenbasis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.closed_form.descent import Descent
from jobs.engines.closed_form.spectrum import gradient
from jobs.engines.moments import Moments, mse, or_one


@dataclass(frozen=True)
class Quadratic:
    """loss(δ) = `loss_m` + ε·(`gradient_mp` + `half_mpp` ε), where ε is the distance of δ from `about_mp`."""

    about_mp: Tensor
    loss_m: Tensor
    gradient_mp: Tensor
    half_mpp: Tensor

    def at(self, displacement_mgep: Tensor) -> Tensor:
        """Return the loss at displacements in the eigenbasis of the descent, (m, g, e)."""
        m, g, e, p = displacement_mgep.shape
        distance_mtp = displacement_mgep.reshape(m, g * e, p) - self.about_mp[:, None, :]
        slope_mtp = torch.baddbmm(self.gradient_mp[:, None, :], distance_mtp, self.half_mpp)
        risen_mt = slope_mtp.mul_(distance_mtp).sum(-1)
        return risen_mt.add_(self.loss_m[:, None]).clamp_(min=0.0).reshape(m, g, e)


def reached(descent: Descent, last_mg: Tensor) -> Tensor:
    """Return the displacement of the fastest trial after its last epoch, (m, p).

    In a direction that the data hardly determine, it is far from the limit; without any information, it is 0.
    """
    hyper = descent.hyperparameters
    reach_m1 = (last_mg * (hyper.learning_rate_mg / (1 - hyper.momentum_g))).amax(1, keepdim=True)
    eigenvalue_mp = descent.spectrum.eigenvalue_mp
    return torch.where(eigenvalue_mp > 0, -descent.gradient_mp * torch.minimum(1 / eigenvalue_mp, reach_m1), 0.0)


def loss_along(descent: Descent, rows: Moments, about_mp: Tensor) -> Quadratic:
    """Return the mean squared error over rows (raw moments) along a descent. It is not negative without rows."""
    weight_mp = descent.weights(about_mp[:, None, None, :])[:, 0, 0]
    loss_m = mse(rows, descent.raw(weight_mp[:, None, None, :]), descent.bias)[:, 0, 0]
    rows = replace(rows, num_rows_m=or_one(rows.num_rows_m))
    rows = descent.scaling.apply(rows) if descent.scaling else rows
    basis_mpp, d = descent.spectrum.eigenvector_mpp, rows.num_columns
    slopes_mdp = basis_mpp[:, :d]
    mean_mp = torch.bmm(rows.mean_md[:, None, :], slopes_mdp)[:, 0]
    if descent.bias:
        mean_mp = mean_mp + basis_mpp[:, d]
    scatter_mpp = torch.bmm(slopes_mdp.mT, torch.bmm(rows.scatter_mdd, slopes_mdp))
    gradient_mp = torch.bmm(gradient(rows, weight_mp, descent.bias)[:, None, :], basis_mpp)[:, 0]
    half_mpp = scatter_mpp / rows.num_rows_m[:, None, None] + mean_mp[:, :, None] * mean_mp[:, None, :]
    return Quadratic(about_mp, loss_m, descent.raw_squares(gradient_mp), descent.raw_squares(half_mpp))
