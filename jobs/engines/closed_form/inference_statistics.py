"""The statistics for standard errors and intervals.

Shapes: m datasets · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.engines.closed_form.spectrum import hessian
from jobs.engines.moments import Moments, mse
from jobs.engines.scaling import feature_scaling


def inverse_cross_product(moments: Moments, bias: bool) -> Tensor:
    """Return the inverse of [X 1]ᵀ[X 1] over the rows, (m, p, p) float64; NaN if the columns are dependent.

    It is inverted in scaled units, which keep more digits, and scaled back.
    """
    scaling = feature_scaling(moments, bias)
    product_mpp = hessian(scaling.apply(moments), bias) * (moments.num_rows_m / 2)[:, None, None]
    factor_mpp, info_m = torch.linalg.cholesky_ex(product_mpp)
    inverse_mpp = torch.cholesky_inverse(factor_mpp)
    # A weight in raw units is T times the weight in scaled units, so the inverse is T · inverse · Tᵀ.
    identity_mpp = torch.eye(product_mpp.shape[1], dtype=torch.float64).expand_as(product_mpp)
    map_mpp = scaling.fold_back(identity_mpp, bias).mT
    return torch.where((info_m == 0)[:, None, None], map_mpp @ inverse_mpp @ map_mpp.mT, torch.nan)


def residual_variance(moments: Moments, weight_mp: Tensor, bias: bool) -> Tensor:
    """Return the residual sum of squares over n - p, (m,); NaN without more rows than weights."""
    freedom_m = moments.num_rows_m - weight_mp.shape[1]
    squares_m = mse(moments, weight_mp[:, None], bias)[:, 0] * moments.num_rows_m
    return torch.where(freedom_m > 0, squares_m / freedom_m.clamp(min=1), torch.nan)
