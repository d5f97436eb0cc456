"""Moments of datasets: full-batch gradient descent on squared error needs nothing else of the data.

Sums are centred and float64, so that neither a large offset nor a large n loses digits. Moments can be merged, and the
moments of some rows can be subtracted. Every array has a leading axis of m datasets.

Shapes: m datasets · n rows · d encoded columns · g grid points · t trials · q = d + 1 columns of z = [x, y] ·
p weights (the d columns, and the bias last if there is one).
Source of the merge: Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances
(1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from jobs.engines.row_sums import sum_rows

CONSTANT = 8 * torch.finfo(torch.float64).eps  # a column is constant if its deviation is a smaller share of its mean


@dataclass(frozen=True)
class Moments:
    """Counts, means and centred second moments of m datasets.

    `scatter_mdd` is Σ(x - x̄)(x - x̄)ᵀ, `cross_md` is Σ(x - x̄)(y - ȳ), `y_scatter_m` is Σ(y - ȳ)²; all float64.
    If rows have weights, they are in all sums and means, `num_rows_m` is their sum, and `count_m` the number of rows.
    `scatter_low_mdd` and `cross_low_md` are the rounding errors of two of them. They are known of rows that were summed
    together, and not 0 if the columns are nearly dependent.
    """

    num_rows_m: Tensor
    mean_md: Tensor
    scatter_mdd: Tensor
    y_mean_m: Tensor
    cross_md: Tensor
    y_scatter_m: Tensor
    scatter_low_mdd: Tensor | None = None
    cross_low_md: Tensor | None = None
    count_m: Tensor | None = None

    @property
    def num_datasets(self) -> int:
        return self.mean_md.shape[0]

    @property
    def num_columns(self) -> int:
        return self.mean_md.shape[1]

    @property
    def rows_m(self) -> Tensor:
        """The number of rows, whatever their weights."""
        return self.num_rows_m if self.count_m is None else self.count_m

    def take(self, index_m: Tensor | slice) -> Moments:
        """Return the datasets at `index_m`, in that order."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {name: None if column is None else column[index_m] for name, column in columns.items()}
        return Moments(**taken)

    @property
    def low(self) -> tuple[Tensor, Tensor]:
        """The rounding errors of `scatter_mdd` and `cross_md`; zeros if they are not known."""
        if self.scatter_low_mdd is None or self.cross_low_md is None:
            return torch.zeros_like(self.scatter_mdd), torch.zeros_like(self.cross_md)
        return self.scatter_low_mdd, self.cross_low_md

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the rows of both, dataset by dataset."""
        return _combine(self, other, sign=1.0)

    def without(self, rows: Moments) -> Moments:
        """Return the moments without `rows`, which must be some of these rows."""
        return _combine(self, rows, sign=-1.0)


def _combine(a: Moments, b: Moments, sign: float) -> Moments:
    n_m = a.num_rows_m + sign * b.num_rows_m
    share_m = torch.where(n_m > 0, sign * b.num_rows_m / or_one(n_m), 0.0)
    step_md = (b.mean_md - a.mean_md) * share_m[:, None]
    y_step_m = (b.y_mean_m - a.y_mean_m) * share_m
    # Centre both sums on the common mean: add the outer product of the distance of the means, weighted by n_a n_b / n.
    weight_m = a.num_rows_m * share_m
    gap_md = b.mean_md - a.mean_md
    y_gap_m = b.y_mean_m - a.y_mean_m
    scatter_low_mdd, cross_low_md = _low_of_the_only(a, b) if sign > 0 else (None, None)
    outer_mdd = gap_md[:, :, None] * gap_md[:, None, :]
    return Moments(
        num_rows_m=n_m,
        mean_md=a.mean_md + step_md,
        scatter_mdd=a.scatter_mdd + sign * b.scatter_mdd + weight_m[:, None, None] * outer_mdd,
        y_mean_m=a.y_mean_m + y_step_m,
        cross_md=a.cross_md + sign * b.cross_md + weight_m[:, None] * gap_md * y_gap_m[:, None],
        y_scatter_m=(a.y_scatter_m + sign * b.y_scatter_m + weight_m * y_gap_m.square()).clamp(min=0.0),
        scatter_low_mdd=scatter_low_mdd,
        cross_low_md=cross_low_md,
        count_m=None if a.count_m is None and b.count_m is None else a.rows_m + sign * b.rows_m,
    )


def or_one(num_rows: Tensor) -> Tensor:
    """Return numbers of rows, or sums of their weights, to divide by: 1 where there are none."""
    return torch.where(num_rows > 0, num_rows, 1.0)


def _low_of_the_only(a: Moments, b: Moments) -> tuple[Tensor | None, Tensor | None]:
    """Return the rounding errors of the sums of both: those of one if the other has no rows; None if not known."""
    if a.scatter_low_mdd is None and b.scatter_low_mdd is None:
        return None, None
    a_m1, b_m1 = (b.num_rows_m == 0)[:, None].double(), (a.num_rows_m == 0)[:, None].double()
    (a_mdd, a_md), (b_mdd, b_md) = a.low, b.low
    return a_mdd * a_m1[:, :, None] + b_mdd * b_m1[:, :, None], a_md * a_m1 + b_md * b_m1


def concatenate(moments: list[Moments]) -> Moments:
    """Return the datasets of all moments, in order."""
    names = [field.name for field in fields(Moments) if field.default is MISSING]
    whole = Moments(**{name: torch.cat([getattr(each, name) for each in moments]) for name in names})
    if any(each.count_m is not None for each in moments):
        whole = replace(whole, count_m=torch.cat([each.rows_m for each in moments]))
    if all(each.scatter_low_mdd is None for each in moments):
        return whole
    scatter_low_mdd, cross_low_md = (torch.cat(low) for low in zip(*[each.low for each in moments], strict=True))
    return replace(whole, scatter_low_mdd=scatter_low_mdd, cross_low_md=cross_low_md)


def moments_of(
    x_nd: Tensor,
    y_n: Tensor,
    rows_n: Tensor | None = None,
    *,
    weight_n: Tensor | None = None,
    precise: bool = True,
) -> Moments:
    """Return the moments of one dataset (m = 1) from its rows, or from those at `rows_n`: one pass, float64.

    With `precise`, nearly dependent columns take a second pass, which computes the rounding errors of the sums; rows
    with weights, which are above 0, do without.
    """
    n, d = len(x_nd) if rows_n is None else len(rows_n), x_nd.shape[1]
    count_m = None if weight_n is None else torch.tensor([float(n)], dtype=torch.float64)
    if n == 0:
        return replace(empty_moments(1, d), count_m=count_m)
    sums = sum_rows(x_nd, y_n, rows_n, weight_n, precise=precise and weight_n is None)
    low_qq = sums.low_qq
    return Moments(
        num_rows_m=sums.num_rows[None],
        count_m=count_m,
        mean_md=sums.mean_q[None, :d],
        scatter_mdd=sums.scatter_qq[None, :d, :d],
        y_mean_m=sums.mean_q[d:],
        cross_md=sums.scatter_qq[None, :d, d],
        y_scatter_m=sums.scatter_qq[None, d, d].clamp(min=0.0),
        scatter_low_mdd=None if low_qq is None else low_qq[None, :d, :d],
        cross_low_md=None if low_qq is None else low_qq[None, :d, d],
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
    return (centred / or_one(moments.num_rows_m).reshape(shape)).clamp(min=0.0) + offset.square()
