"""Least squares from moments, in units in which the digits are: the limit of descent, its rank, and its digits.

Columns are scaled by powers of 2, which rounds nothing, to a variance near 1 (without a bias, a mean square near 1).
There an eigenvalue that float64 can't tell from 0 is a direction that the data do not determine. The solution is
refined with residuals of twice the digits, so that the equations that the sums pose are solved to the last digit.

Shapes: m datasets · d encoded columns · p weights (the d columns, and the bias last if there is one).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 12 and 20.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.double_double import total_of, two_product
from jobs.engines.moments import CONSTANT, Moments

EPS = torch.finfo(torch.float64).eps
PRECISE_EPS = 2.0**-70  # the rounding of sums whose lacks are known
TINY = 1e-300
FREE = 1e-6  # of a weight, along what the data do not determine: beyond, it has no value of its own
REFINEMENTS = 5


@dataclass(frozen=True)
class NormalEquations:
    """The normal equations of m datasets in scaled units, C β = c, with the eigenvalues of C.

    `eigenvalue_md` ascend, and are 0 where the data determine nothing. `scale_md` are the powers of 2; a constant
    column has 0, and zeros in C.
    """

    moments: Moments
    bias: bool
    scale_md: Tensor
    eigenvalue_md: Tensor
    eigenvector_mdd: Tensor

    @property
    def condition_m(self) -> Tensor:
        """The condition number of C over the directions that the data determine."""
        positive_md = torch.where(self.eigenvalue_md > 0, self.eigenvalue_md, torch.inf)
        return self.eigenvalue_md[:, -1] / positive_md.amin(1)

    @property
    def inverse_scale_md(self) -> Tensor:
        return torch.where(self.scale_md > 0, 1 / self.scale_md, 0.0)

    def take(self, index_m: Tensor) -> NormalEquations:
        """Return those of the datasets at `index_m`."""
        return NormalEquations(
            self.moments.take(index_m),
            self.bias,
            self.scale_md[index_m],
            self.eigenvalue_md[index_m],
            self.eigenvector_mdd[index_m],
        )

    def inverse(self) -> Tensor:
        """Return the inverse of C along the directions that the data determine, (m, d, d)."""
        inverse_md = torch.where(self.eigenvalue_md > 0, 1 / self.eigenvalue_md, 0.0)
        return (self.eigenvector_mdd * inverse_md[:, None, :]) @ self.eigenvector_mdd.mT


def noise_of(eigenvalue_mp: Tensor) -> Tensor:
    """Return the size of eigenvalues (ascending) that float64 can't tell from 0, (m, 1)."""
    return eigenvalue_mp[:, -1:].abs() * eigenvalue_mp.shape[1] * EPS


def normal_equations(moments: Moments, bias: bool) -> NormalEquations:
    """Return the normal equations of each dataset in scaled units."""
    raw_mdd = moments.scatter_mdd / moments.num_rows_m[:, None, None]
    if not bias:
        raw_mdd = raw_mdd + moments.mean_md[:, :, None] * moments.mean_md[:, None, :]
    scale_md = _powers_of_two(raw_mdd.diagonal(dim1=1, dim2=2), moments.mean_md)
    inverse_scale_md = torch.where(scale_md > 0, 1 / scale_md, 0.0)
    scaled_mdd = raw_mdd * inverse_scale_md[:, :, None] * inverse_scale_md[:, None, :]
    eigenvalue_md, eigenvector_mdd = torch.linalg.eigh(scaled_mdd)
    determined_md = torch.where(eigenvalue_md > noise_of(eigenvalue_md), eigenvalue_md, 0.0)
    return NormalEquations(moments, bias, scale_md, determined_md, eigenvector_mdd)


def solve(equations: NormalEquations) -> Tensor:
    """Return the slopes of least squares in raw units, (m, d); 0 along what the data do not determine.

    They are corrected by what they leave, until corrections no longer halve.
    """
    moments, inverse_mdd, inverse_scale_md = equations.moments, equations.inverse(), equations.inverse_scale_md
    slope_md = torch.zeros_like(moments.mean_md)
    before_m = torch.full_like(moments.num_rows_m, torch.inf)
    for _ in range(REFINEMENTS):
        left_md = residual(moments, slope_md, equations.bias) * inverse_scale_md
        step_md = torch.bmm(inverse_mdd, left_md[:, :, None])[..., 0]
        size_m = step_md.norm(dim=1)
        halves_m = size_m < before_m / 2
        slope_md = torch.where(halves_m[:, None], slope_md + step_md * inverse_scale_md, slope_md)
        before_m = torch.where(halves_m, size_m, 0.0)
    return slope_md


def weights_of(moments: Moments, slope_md: Tensor, bias: bool) -> Tensor:
    """Return the weights (m, p) with these slopes; with a bias, predictions have the mean of the target."""
    if not bias:
        return slope_md
    at_mean_m = (moments.mean_md * slope_md).sum(1)
    return torch.cat([slope_md, (moments.y_mean_m - at_mean_m)[:, None]], dim=1)


def unresolved_variance(equations: NormalEquations, slope_md: Tensor) -> Tensor:
    """Return the mean square of what predictions lack along directions that float64 can't tell from undetermined, (m,).

    The data may determine them all the same, by columns that differ from their tenth digit on. Where the sums are known
    to twice the digits, it is told; elsewhere it is 0.
    """
    moments, bias = equations.moments, equations.bias
    num_zeros = int((equations.eigenvalue_md == 0).sum(1).max())
    if moments.scatter_low_mdd is None or num_zeros == 0:
        return torch.zeros_like(moments.num_rows_m)
    basis = torch.where(equations.eigenvalue_md == 0, 1.0, 0.0)[:, None, :] * equations.eigenvector_mdd
    basis = basis[:, :, :num_zeros] * equations.inverse_scale_md[:, :, None]
    no_target = replace(moments, y_mean_m=torch.zeros_like(moments.y_mean_m), cross_md=torch.zeros_like(slope_md))
    no_target = replace(no_target, cross_low_md=no_target.cross_md)
    left = torch.bmm(basis.mT, residual(moments, slope_md, bias)[:, :, None])[..., 0]
    turned = [-residual(no_target, direction_md, bias) for direction_md in basis.unbind(2)]
    curvature = torch.bmm(basis.mT, torch.stack(turned, dim=2))
    bend, turn = torch.linalg.eigh((curvature + curvature.mT) / 2)
    known = bend > noise_of(equations.eigenvalue_md) * PRECISE_EPS / EPS
    along = torch.bmm(turn.mT, left[:, :, None])[..., 0]
    return torch.where(known, along.square() / bend.clamp(min=TINY), 0.0).sum(1)


def trusted_digits(moments: Moments, bias: bool) -> Tensor:
    """Return how many digits of each weight of least squares the sums still hold, (m, p); NaN: it is not determined.

    The bound is that of the normal equations: the rounding of the sums, relative to the columns' and the target's
    deviations, through the inverse of C.
    """
    equations = normal_equations(moments, bias)
    return digits_of(equations, solve(equations))


def digits_of(equations: NormalEquations, slope_md: Tensor) -> Tensor:
    """Return the trusted digits (m, p) of the weights with these slopes, which solve the equations."""
    moments, bias = equations.moments, equations.bias
    rounding_md, error_md = _slope_errors(equations, slope_md)
    weight_mp = weights_of(moments, slope_md, bias)
    if bias:
        # Errors of slopes go together: what they make of the intercept is less than of each by itself.
        shift_md = (moments.mean_md * equations.inverse_scale_md)[:, None, :]
        of_slopes_m1 = (torch.bmm(shift_md, equations.inverse())[:, 0].abs() * rounding_md).sum(1, keepdim=True)
        of_terms_m1 = (slope_md * moments.mean_md).abs().sum(1, keepdim=True) + moments.y_mean_m[:, None].abs()
        error_md = torch.cat([error_md, of_slopes_m1 + 8 * EPS * of_terms_m1], dim=1)
    return -(error_md / weight_mp.abs().clamp(min=TINY)).clamp(EPS, 1.0).log10()


def _slope_errors(equations: NormalEquations, slope_md: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rounding of the scaled sums, and what it makes of slopes in raw units; NaN of one without a value."""
    moments, scaled_md = equations.moments, slope_md * equations.scale_md
    precise_m1 = (moments.low[0] != 0).flatten(1).any(1, keepdim=True)
    square_m = moments.y_scatter_m / moments.num_rows_m + (0.0 if equations.bias else moments.y_mean_m.square())
    size_m1 = scaled_md.abs().sum(1, keepdim=True) + square_m.sqrt()[:, None]
    rounding_md = (torch.where(precise_m1, PRECISE_EPS, EPS) * size_m1).expand_as(scaled_md)
    error_md = torch.bmm(equations.inverse().abs(), rounding_md[:, :, None])[..., 0] + EPS * scaled_md.abs()
    free_md = (torch.where(equations.eigenvalue_md == 0, 1.0, 0.0)[:, None, :] * equations.eigenvector_mdd).norm(dim=2)
    return rounding_md, torch.where(free_md > FREE, torch.nan, error_md) * equations.inverse_scale_md


def residual(moments: Moments, slope_md: Tensor, bias: bool) -> Tensor:
    """Return the mean of (x - x̄)(y - ŷ), or without a bias that of x (y - ŷ), (m, d), with twice the digits inside."""
    scatter_low_mdd, low_md = moments.low
    low_md = low_md - torch.bmm(scatter_low_mdd, slope_md[:, :, None])[..., 0]
    term_mdd, lacks_mdd = two_product(moments.scatter_mdd, -slope_md[:, None, :].expand_as(moments.scatter_mdd))
    high_md, low_md = total_of(term_mdd.unbind(2), moments.cross_md, low_md + lacks_mdd.sum(2))
    around_md = (high_md + low_md) / moments.num_rows_m[:, None]
    if bias:
        return around_md
    at_mean_md, lacks_md = two_product(moments.mean_md, -slope_md)
    high_m, low_m = total_of(at_mean_md.unbind(1), moments.y_mean_m, lacks_md.sum(1))
    return around_md + moments.mean_md * (high_m + low_m)[:, None]


def _powers_of_two(square_md: Tensor, mean_md: Tensor) -> Tensor:
    """Return the powers of 2 next to the roots; 0 for a column that is constant but for rounding."""
    root_md = square_md.clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    mantissa_md, _ = torch.frexp(root_md)
    return torch.where(square_md > (CONSTANT * mean_md).square(), root_md / mantissa_md, 0.0)
