"""The squared error as a quadratic of the weights: its Hessian, gradient and spectrum.

Shapes: m datasets · d encoded columns · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.closed_form.jacobi import right_singular_vectors
from jobs.engines.closed_form.least_squares import NormalEquations, noise_of, normal_equations
from jobs.engines.moments import Moments

RESOLVED = 1e-11  # of the largest eigenvalue: smaller ones have lost all but five digits or so of float64


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

    @property
    def spread_m(self) -> Tensor:
        """λmax divided by the smallest eigenvalue above 0: how much slower the slowest direction is."""
        return self.largest_m / self.smallest_positive_m


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
    """Return the spectrum of the Hessian; it is 0 along directions that the data do not determine.

    Which these are is judged in scaled units: a column of seconds beside one of shares makes small eigenvalues, not
    undetermined ones. Where the usual method would lose them, each is computed to its own digits.
    """
    eigenvalue_mp, eigenvector_mpp = torch.linalg.eigh(hessian(moments, bias))
    eigenvalue_mp = torch.where(eigenvalue_mp > noise_of(eigenvalue_mp), eigenvalue_mp, 0.0)
    basis = Spectrum(eigenvalue_mp, eigenvector_mpp)
    wide_m = (eigenvalue_mp[:, 0] < RESOLVED * basis.largest_m).nonzero()[:, 0]
    if not len(wide_m):
        return basis
    equations = normal_equations(moments.take(wide_m), bias)
    num_zeros_m = (basis.eigenvalue_mp[wide_m] == 0).sum(1)
    kept_m = num_zeros_m == (equations.eigenvalue_md == 0).sum(1)
    kept_m &= basis.smallest_positive_m[wide_m] >= RESOLVED * basis.largest_m[wide_m]
    graded_m = (~kept_m).nonzero()[:, 0]
    if len(graded_m):
        graded = _graded(equations.take(graded_m))
        eigenvalue_mp[wide_m[graded_m]], eigenvector_mpp[wide_m[graded_m]] = (
            graded.eigenvalue_mp,
            graded.eigenvector_mpp,
        )
    return basis


def _graded(equations: NormalEquations) -> Spectrum:
    """Return the spectrum by the singular values of a root of the Hessian, whose columns may differ widely in scale."""
    root_md, scale_md = equations.eigenvalue_md.sqrt(), equations.scale_md
    root_mdd = root_md[:, :, None] * equations.eigenvector_mdd.mT * scale_md[:, None, :]
    mean_md = equations.moments.mean_md
    if equations.bias:
        last_mp = torch.cat([mean_md, torch.ones_like(mean_md[:, :1])], dim=1)[:, None, :]
        root_mdd = torch.cat([torch.nn.functional.pad(root_mdd, (0, 1)), last_mp], dim=1)
    turned_mpp, basis_mpp = right_singular_vectors(root_mdd)
    square_mp = turned_mpp.square().sum(1)
    # What a direction would have if its columns were not dependent: its share of that is an eigenvalue in scaled units.
    apart_mp = (scale_md[:, :, None] * basis_mpp[:, : mean_md.shape[1]]).square().sum(1)
    if equations.bias:
        apart_mp = apart_mp + turned_mpp[:, -1].square()
    noise_m1 = noise_of(equations.eigenvalue_md)
    eigenvalue_mp = torch.where(square_mp > 2 * noise_m1 * apart_mp, 2 * square_mp, 0.0)
    order_mp = eigenvalue_mp.argsort(1)
    return Spectrum(eigenvalue_mp.gather(1, order_mp), basis_mpp.gather(2, order_mp[:, None, :].expand_as(basis_mpp)))
