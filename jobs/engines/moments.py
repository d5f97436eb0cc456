"""Moments of datasets: full-batch gradient descent on squared error needs nothing else of the data.

Sums are centred and float64, so that neither a large offset nor a large n loses digits. Moments can be merged, and the
moments of some rows can be subtracted. Every array has a leading axis of m datasets.

Shapes: m datasets · n rows · c rows of a chunk · d encoded columns · q = d + 1 columns of z without the ones ·
w ≥ d + 2 columns of a product: x, y, ones, and zeros up to a width that multiplies fast · g grid points · t trials ·
p weights (the d columns, and the bias last if there is one).
Source of the merge: Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances
(1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate

import torch
from torch import Tensor

from jobs.engines.threads import map_in_threads

SHIFT_ROWS = 256  # their mean is subtracted from all rows before they are summed
CHUNK_ROWS = 4096  # with 32 float64 columns slightly more than the second-level cache; smaller chunks cost more Python
STRETCH_ROWS = 16 * CHUNK_ROWS  # one thread sums a stretch: so sums do not depend on the number of threads


@dataclass(frozen=True)
class Moments:
    """Counts, means and centred second moments of m datasets.

    `scatter_mdd` is Σ(x - x̄)(x - x̄)ᵀ, `cross_md` is Σ(x - x̄)(y - ȳ), `y_scatter_m` is Σ(y - ȳ)²; all float64.
    """

    num_rows_m: Tensor
    mean_md: Tensor
    scatter_mdd: Tensor
    y_mean_m: Tensor
    cross_md: Tensor
    y_scatter_m: Tensor

    @property
    def num_datasets(self) -> int:
        return self.mean_md.shape[0]

    @property
    def num_columns(self) -> int:
        return self.mean_md.shape[1]

    def take(self, index_m: Tensor | slice) -> Moments:
        """Return the datasets at `index_m`, in that order."""
        return Moments(**{field.name: getattr(self, field.name)[index_m] for field in fields(self)})

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the rows of both, dataset by dataset."""
        return _combine(self, other, sign=1.0)

    def without(self, rows: Moments) -> Moments:
        """Return the moments without `rows`, which must be some of these rows."""
        return _combine(self, rows, sign=-1.0)


def _combine(a: Moments, b: Moments, sign: float) -> Moments:
    n_m = a.num_rows_m + sign * b.num_rows_m
    share_m = torch.where(n_m > 0, sign * b.num_rows_m / n_m.clamp(min=1), 0.0)
    step_md = (b.mean_md - a.mean_md) * share_m[:, None]
    y_step_m = (b.y_mean_m - a.y_mean_m) * share_m
    # Centre both sums on the common mean: add the outer product of the distance of the means, weighted by n_a n_b / n.
    weight_m = a.num_rows_m * share_m
    gap_md = b.mean_md - a.mean_md
    y_gap_m = b.y_mean_m - a.y_mean_m
    outer_mdd = gap_md[:, :, None] * gap_md[:, None, :]
    return Moments(
        num_rows_m=n_m,
        mean_md=a.mean_md + step_md,
        scatter_mdd=a.scatter_mdd + sign * b.scatter_mdd + weight_m[:, None, None] * outer_mdd,
        y_mean_m=a.y_mean_m + y_step_m,
        cross_md=a.cross_md + sign * b.cross_md + weight_m[:, None] * gap_md * y_gap_m[:, None],
        y_scatter_m=(a.y_scatter_m + sign * b.y_scatter_m + weight_m * y_gap_m.square()).clamp(min=0.0),
    )


def concatenate(moments: list[Moments]) -> Moments:
    """Return the datasets of all moments, in order."""
    return Moments(
        **{field.name: torch.cat([getattr(each, field.name) for each in moments]) for field in fields(Moments)}
    )


def moments_of(x_nd: Tensor, y_n: Tensor, rows_n: Tensor | None = None) -> Moments:
    """Return the moments of one dataset (m = 1) from its rows, or from those at `rows_n`: one pass, float64.

    Threads sum stretches of rows in parallel; the sums do not depend on the number of threads.
    """
    n, d = len(x_nd) if rows_n is None else len(rows_n), x_nd.shape[1]
    if n == 0:
        return empty_moments(1, d)
    rows = _Rows(x_nd, y_n, rows_n)
    shift_w = rows.write(0, rows.buffer(min(n, SHIFT_ROWS))).mean(0)
    shift_w[d + 1] = 0.0

    def product(start: int) -> Tensor:
        return _product(rows, shift_w, start, min(start + STRETCH_ROWS, n))

    starts = range(0, n, STRETCH_ROWS)
    products = map_in_threads(product, starts, min(torch.get_num_threads(), len(starts)), "moments")
    product_ww = torch.stack(products).sum(0) if len(products) > 1 else products[0]
    return _around_mean(n, shift_w[: d + 1], product_ww[d + 1, : d + 1], product_ww[: d + 1, : d + 1])


def _padded(width: int) -> int:
    """Return the padded width: with multiples of 12, MKL's float64 product takes half the time."""
    return width if width <= 8 else -(-width // 12) * 12


@dataclass(frozen=True)
class _Rows:
    x_nd: Tensor
    y_n: Tensor
    rows_n: Tensor | None

    def buffer(self, num_rows: int) -> Tensor:
        """Return a buffer of rows in the memory order of x, with the column of ones; its padding stays zero."""
        d = self.x_nd.shape[1]
        if self.x_nd.stride(0) == 1 < d:
            z_cw = torch.zeros(d + 2, num_rows, dtype=torch.float64).T
        else:
            z_cw = torch.zeros(num_rows, _padded(d + 2), dtype=torch.float64)
        z_cw[:, d + 1] = 1.0
        return z_cw

    def write(self, start: int, z_cw: Tensor) -> Tensor:
        """Write the rows from `start` on, with their target, into `z_cw`; return it."""
        where, d = slice(start, start + len(z_cw)), self.x_nd.shape[1]
        rows = where if self.rows_n is None else self.rows_n[where]
        z_cw[:, :d] = self.x_nd[rows]
        z_cw[:, d] = self.y_n[rows]
        return z_cw


def _product(rows: _Rows, shift_w: Tensor, start: int, stop: int) -> Tensor:
    """Return zᵀz of the rows from `start` to `stop`, z = [x y 1] minus the shift; the row of the ones has the sums."""
    w = len(shift_w)
    product_ww = torch.zeros(w, w, dtype=torch.float64)
    buffer_cw = rows.buffer(min(stop - start, CHUNK_ROWS))
    for begin in range(start, stop, CHUNK_ROWS):
        z_cw = rows.write(begin, buffer_cw[: min(CHUNK_ROWS, stop - begin)])
        z_cw -= shift_w
        product_ww.addmm_(z_cw.T, z_cw)
    return product_ww


def _around_mean(n: int, shift_q: Tensor, sum_q: Tensor, product_qq: Tensor) -> Moments:
    d = shift_q.shape[0] - 1
    offset_q = sum_q / n
    centred_qq = product_qq - n * offset_q[:, None] * offset_q[None, :]
    mean_q = shift_q + offset_q
    return Moments(
        num_rows_m=torch.tensor([float(n)], dtype=torch.float64),
        mean_md=mean_q[None, :d],
        scatter_mdd=centred_qq[None, :d, :d],
        y_mean_m=mean_q[d:],
        cross_md=centred_qq[None, :d, d],
        y_scatter_m=centred_qq[None, d, d].clamp(min=0.0),
    )


def empty_moments(num_datasets: int, num_columns: int) -> Moments:
    """Return the moments of no rows."""
    m, d = num_datasets, num_columns

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64)

    return Moments(
        num_rows_m=zeros(m),
        mean_md=zeros(m, d),
        scatter_mdd=zeros(m, d, d),
        y_mean_m=zeros(m),
        cross_md=zeros(m, d),
        y_scatter_m=zeros(m),
    )


def leaving_out(folds: Sequence[Moments]) -> list[Moments]:
    """Return, for each of two or more folds, the moments of the rows of all others.

    The others are merged. Subtracting the fold from the total would leave rounding errors if a column is constant
    outside the fold, and would lose digits if the fold has the outliers.
    """
    before = list(accumulate(folds, Moments.merge))
    after = list(accumulate(reversed(folds), Moments.merge))[::-1]
    inner = [before[at - 1].merge(after[at + 1]) for at in range(1, len(folds) - 1)]
    return [after[1], *inner, before[-2]]


@dataclass(frozen=True)
class Scaling:
    """The scaling of features before training: x' = (x - offset) / scale. Without a bias the offset is 0."""

    offset_md: Tensor
    scale_md: Tensor

    def apply(self, moments: Moments) -> Moments:
        """Return the moments of the scaled features."""
        return Moments(
            num_rows_m=moments.num_rows_m,
            mean_md=(moments.mean_md - self.offset_md) / self.scale_md,
            scatter_mdd=moments.scatter_mdd / self.scale_md[:, :, None] / self.scale_md[:, None, :],
            y_mean_m=moments.y_mean_m,
            cross_md=moments.cross_md / self.scale_md,
            y_scatter_m=moments.y_scatter_m,
        )

    def fold_back(self, weight_map: Tensor, bias: bool) -> Tensor:
        """Return weights in raw units from weights (m, …, p) of scaled features."""
        d = self.scale_md.shape[1]
        shape = (self.scale_md.shape[0], *[1] * (weight_map.ndim - 2), d)
        slope = weight_map[..., :d] / self.scale_md.reshape(shape)
        if not bias:
            return slope
        intercept = weight_map[..., d:] - (slope * self.offset_md.reshape(shape)).sum(-1, keepdim=True)
        return torch.cat([slope, intercept], dim=-1)


def scaling_of(moments: Moments, bias: bool) -> Scaling:
    """Return the scaling that gives each feature mean 0 and variance 1; without a bias, mean square 1."""
    n_m1 = moments.num_rows_m[:, None]
    variance_md = moments.scatter_mdd.diagonal(dim1=1, dim2=2) / n_m1
    offset_md = moments.mean_md if bias else torch.zeros_like(moments.mean_md)
    square_md = variance_md if bias else variance_md + moments.mean_md.square()
    return Scaling(offset_md, torch.where(square_md > 0, square_md.clamp(min=0.0).sqrt(), 1.0))


def mse(moments: Moments, weight_mgp: Tensor, bias: bool) -> Tensor:
    """Return the mean squared error of weights (m, …, p) over the rows of their dataset, of shape (m, …).

    It is computed around the means: Σ((y - ȳ) - w·(x - x̄))² / n + (ȳ - w·x̄ - b)². It is not negative without rows.
    """
    d = moments.num_columns
    shape = (moments.num_datasets, *[1] * (weight_mgp.ndim - 2))
    flat_mtd = weight_mgp[..., :d].reshape(moments.num_datasets, -1, d)
    quadratic_mt = (torch.bmm(flat_mtd, moments.scatter_mdd) * flat_mtd).sum(-1)
    linear_mt = torch.bmm(flat_mtd, moments.cross_md[:, :, None])[..., 0]
    centred = (quadratic_mt - 2 * linear_mt).reshape(weight_mgp.shape[:-1]) + moments.y_scatter_m.reshape(shape)
    at_mean = torch.bmm(flat_mtd, moments.mean_md[:, :, None])[..., 0].reshape(weight_mgp.shape[:-1])
    if bias:
        at_mean = at_mean + weight_mgp[..., d]
    offset = moments.y_mean_m.reshape(shape) - at_mean
    return (centred / moments.num_rows_m.clamp(min=1).reshape(shape)).clamp(min=0.0) + offset.square()
