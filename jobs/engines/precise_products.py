"""Cross-products with some twenty bits more than float64 has, for columns so dependent that their digits are needed.

A column is cut into a coarse part of few bits, whose products are summed without any rounding, and the rest, which is
so small that the rounding of its products no longer counts. These are products of matrices, as fast as plain ones.

Shapes: m datasets · d encoded columns · c rows of a chunk · w columns of a product.
Source: Ozaki, Ogita, Oishi & Rump, Error-free transformations of matrix multiplication (2012).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jobs.engines.double_double import two_sum

MANTISSA_BITS = 53
LEFT_OF_VARIANCE = 1e-3  # of a column, by those before it, below which three digits or more are lost
TINY = 2.0**-900


def loses_digits(scatter_mdd: Tensor) -> Tensor:
    """Return which datasets have columns so dependent that the sums of float64 lose digits, (m,) bool."""
    variance_md = scatter_mdd.diagonal(dim1=1, dim2=2)
    scale_md = variance_md.clamp(min=TINY).rsqrt()
    correlation_mdd = scatter_mdd * scale_md[:, :, None] * scale_md[:, None, :]
    correlation_mdd.diagonal(dim1=1, dim2=2).masked_fill_(variance_md <= TINY, 1.0)  # a constant column
    factor_mdd, failed_m = torch.linalg.cholesky_ex(correlation_mdd)
    left_md = factor_mdd.diagonal(dim1=1, dim2=2).square()
    loses_m: Tensor = (failed_m != 0) | (left_md < LEFT_OF_VARIANCE).any(1)
    return loses_m


def coarse_bits(num_rows: int) -> int:
    """Return how many bits a part may have for the products of so many rows to be summed without rounding."""
    return (MANTISSA_BITS - math.ceil(math.log2(max(num_rows, 2)))) // 2


def product_around(z_cw: Tensor, shift_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return (z - shift)ᵀ(z - shift), (w, w), as a value and what it lacks."""
    around_cw, lost_cw = two_sum(z_cw, -shift_w.expand_as(z_cw))
    mantissa_w, _ = torch.frexp(largest_w := around_cw.abs().amax(0).clamp(min=TINY))
    unit_w = largest_w / mantissa_w * 2.0 ** -coarse_bits(len(z_cw))
    coarse_cw = (around_cw / unit_w).round() * unit_w
    fine_cw = (around_cw - coarse_cw) + lost_cw
    mixed_ww = coarse_cw.T @ fine_cw
    return coarse_cw.T @ coarse_cw, mixed_ww + mixed_ww.T + fine_cw.T @ fine_cw
