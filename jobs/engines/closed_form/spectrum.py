"""The squared error as a quadratic of the weights: its Hessian, gradient and spectrum.

Shapes: m datasets · d encoded columns · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.moments import Moments


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues (ascending; 0 if the data do not determine the direction) and eigenvectors of the Hessian."""

    eigenvalue_mp: Tensor
    eigenvector_mpp: Tensor

    @property
    def largest_m(self) -> Tensor:
        return self.eigenvalue_mp[:, -1]

    @property
    def smallest_positive_m(self) -> Tensor:
        """The smallest eigenvalue above 0, or infinity if there is none."""
        return torch.where(self.eigenvalue_mp > 0, self.eigenvalue_mp, torch.inf).amin(1)

    @property
    def condition_m(self) -> Tensor:
        """The condition number: λmax / λmin, or infinity where λmin is 0."""
        smallest_m = self.eigenvalue_mp[:, 0]
        return torch.where(smallest_m > 0, self.largest_m / smallest_m, torch.inf)


def hessian(moments: Moments, bias: bool) -> Tensor:
    """Return the Hessian of the mean squared error, (2/n) [X 1]ᵀ[X 1]: (m, p, p) float64."""
    second_mdd = moments.scatter_mdd / moments.num_rows_m[:, None, None]
    second_mdd = second_mdd + moments.mean_md[:, :, None] * moments.mean_md[:, None, :]
    if not bias:
        return 2 * second_mdd
    ones_m1 = torch.ones(moments.num_datasets, 1, dtype=torch.float64)
    last_mp1 = torch.cat([moments.mean_md, ones_m1], dim=1)[:, :, None]
    return 2 * torch.cat([torch.cat([second_mdd, moments.mean_md[:, None, :]], dim=1), last_mp1], dim=2)


def gradient(moments: Moments, weight_mp: Tensor, bias: bool) -> Tensor:
    """Return the gradient of the mean squared error at the weights, (m, p) float64."""
    d = moments.num_columns
    slope_md = weight_mp[:, :d]
    at_mean_m = (moments.mean_md * slope_md).sum(1) + (weight_mp[:, d] if bias else 0.0)
    residual_mean_m = moments.y_mean_m - at_mean_m
    cross_md = moments.cross_md - torch.bmm(moments.scatter_mdd, slope_md[:, :, None])[..., 0]
    slope_gradient_md = -2 * (cross_md / moments.num_rows_m[:, None] + moments.mean_md * residual_mean_m[:, None])
    if not bias:
        return slope_gradient_md
    return torch.cat([slope_gradient_md, -2 * residual_mean_m[:, None]], dim=1)


def spectrum(moments: Moments, bias: bool) -> Spectrum:
    """Return the spectrum of the Hessian; eigenvalues that float64 can't tell from 0 are 0."""
    eigenvalue_mp, eigenvector_mpp = torch.linalg.eigh(hessian(moments, bias))
    noise_m1 = eigenvalue_mp[:, -1:].abs() * eigenvalue_mp.shape[1] * torch.finfo(torch.float64).eps
    return Spectrum(torch.where(eigenvalue_mp > noise_m1, eigenvalue_mp, 0.0), eigenvector_mpp)
