"""The statistics for standard errors and intervals.

Shapes: m datasets · d encoded columns · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.closed_form.dependence import raw_map, suspects_by, undetermined
from jobs.engines.closed_form.least_squares import EPS, NormalEquations, residual
from jobs.engines.closed_form.spectrum import hessian
from jobs.engines.moments import Moments, mse
from jobs.engines.scaling import feature_scaling

ROUNDING = 32 * EPS  # of the target's variance: a residual variance below is that of the sums' rounding


@dataclass(frozen=True)
class InferenceStatistics:
    """The statistics of m models; see `handler.models.stack.StatisticsOf`.

    `undetermined_mpp` is None if the data of every dataset determine all its weights; so are `degrees_of_freedom_m`,
    unless rows have frequency weights.
    """

    inverse_cross_product_mpp: Tensor
    residual_variance_m: Tensor
    degrees_of_freedom_m: Tensor | None = None
    undetermined_mpp: Tensor | None = None


def statistics_of(moments: Moments, weight_mp: Tensor, bias: bool, *, frequency: bool = False) -> InferenceStatistics:
    """Return the statistics of weights over their rows.

    Where columns are dependent, the inverse is one on what the data determine, and the degrees of freedom count the
    weights that they do. With `frequency`, the weights of rows say how often each was seen: they are the observations.
    """
    # It is inverted in scaled units, which keep more digits. A weight in raw units is T times the weight in scaled
    # units, so the inverse is T · inverse · Tᵀ.
    scaling = feature_scaling(moments, bias)
    n_m11 = moments.num_rows_m[:, None, None]
    factor_mpp, failed_m = torch.linalg.cholesky_ex(hessian(scaling.apply(moments), bias) * (n_m11 / 2))
    suspect_m = suspects_by(factor_mpp / n_m11.sqrt(), failed_m)
    factor_mpp[failed_m != 0] = torch.eye(weight_mp.shape[1], dtype=torch.float64)
    map_mpp = raw_map(scaling.offset_md, scaling.scale_md, bias)
    inverse_mpp = map_mpp @ torch.cholesky_inverse(factor_mpp) @ map_mpp.mT
    rank_m = torch.full_like(moments.num_rows_m, weight_mp.shape[1])
    direction_mpp = None
    if len(suspect_m):
        found = undetermined(moments.take(suspect_m), bias)
        inverse_mpp[suspect_m] = _inverse_where_determined(found.equations)
        rank_m[suspect_m] = found.rank_m
        if bool((found.rank_m < weight_mp.shape[1]).any()):
            direction_mpp = torch.zeros_like(inverse_mpp)
            direction_mpp[suspect_m] = found.direction_mpp
    freedom_m = (moments.num_rows_m if frequency else moments.rows_m) - rank_m
    return InferenceStatistics(
        inverse_cross_product_mpp=inverse_mpp,
        residual_variance_m=_squares(moments, weight_mp, bias, suspect_m) / _or_nan(freedom_m),
        degrees_of_freedom_m=freedom_m if frequency or direction_mpp is not None else None,
        undetermined_mpp=direction_mpp,
    )


def _inverse_where_determined(equations: NormalEquations) -> Tensor:
    """Return an inverse of [X 1]ᵀ[X 1] along the directions that the data determine, (m, p, p)."""
    moments, bias = equations.moments, equations.bias
    inverse_mpp = torch.nn.functional.pad(equations.inverse(), (0, int(bias), 0, int(bias)))
    if bias:
        inverse_mpp[:, -1, -1] = 1.0
    map_mpp = raw_map(moments.mean_md, torch.where(equations.scale_md > 0, equations.scale_md, 1.0), bias)
    return map_mpp @ (inverse_mpp / moments.num_rows_m[:, None, None]) @ map_mpp.mT


def _squares(moments: Moments, weight_mp: Tensor, bias: bool, suspect_m: Tensor) -> Tensor:
    """Return the residual sum of squares, (m,); of a fit that is perfect but for rounding, what rounding may hide.

    The large weights of nearly dependent columns cancel in it: there it is computed by what the weights leave.
    """
    squares_m = mse(moments, weight_mp[:, None], bias)[:, 0] * moments.num_rows_m
    if len(suspect_m):
        some, slope_md = moments.take(suspect_m), weight_mp[suspect_m, : moments.num_columns]
        left_md = residual(some, slope_md, bias=True) * some.num_rows_m[:, None]
        centred_m = some.y_scatter_m - (slope_md * (some.cross_md + left_md)).sum(1)
        at_mean_m = (slope_md * some.mean_md).sum(1) + (weight_mp[suspect_m, -1] if bias else 0.0)
        squares_m[suspect_m] = centred_m + (some.y_mean_m - at_mean_m).square() * some.num_rows_m
    return torch.maximum(squares_m, ROUNDING * moments.y_scatter_m)


def _or_nan(freedom_m: Tensor) -> Tensor:
    """Return the degrees of freedom to divide by, NaN where there are none."""
    return torch.where(freedom_m > 0, freedom_m, torch.nan)
