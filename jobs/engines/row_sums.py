"""The cross-products of the rows of one dataset around their mean, in one pass; in two where digits would be lost.

Shapes: n rows · c rows of a chunk · d encoded columns · q = d + 1 columns of z = [x, y] · w ≥ d + 2 columns of a
product: x, y, ones, and zeros up to a width that multiplies fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from jobs.engines.double_double import total_of
from jobs.engines.precise_products import loses_digits, product_around
from jobs.engines.threads import map_in_threads

_T = TypeVar("_T")
SHIFT_ROWS = 256  # whose mean the sums are taken around
CHUNK_ROWS = 4096  # a chunk of 32 float64 columns just leaves the second-level cache; fewer cost more Python
STRETCH_ROWS = 16 * CHUNK_ROWS  # what one thread sums: sums must not depend on how many threads there are


@dataclass(frozen=True)
class RowSums:
    """The number of rows, or the sum of their weights; means, centred second moments, and what these lack for want of
    digits (None: not asked for).
    """

    num_rows: Tensor
    mean_q: Tensor
    scatter_qq: Tensor
    low_qq: Tensor | None = None


def sum_rows(
    x_nd: Tensor, y_n: Tensor, rows_n: Tensor | None = None, weight_n: Tensor | None = None, *, precise: bool
) -> RowSums:
    """Return the sums of one or more rows, or of those at `rows_n`; if `precise`, with what they lack where it matters.

    `weight_n` are the weights of all rows; `precise` sums have none.

    Stretches of rows are summed side by side where there are threads for it; the sums do not depend on how many.
    """
    n, q = len(x_nd) if rows_n is None else len(rows_n), x_nd.shape[1] + 1
    rows = _Rows(x_nd, y_n, rows_n, weight_n)
    shift_w = rows.write(0, rows.buffer(min(n, SHIFT_ROWS))).mean(0)
    shift_w[q] = 0.0
    products = _by_stretch(n, lambda start, stop: _product(rows, shift_w, start, stop))
    product_ww = torch.stack(products).sum(0) if len(products) > 1 else products[0]
    num_rows = torch.tensor(float(n), dtype=torch.float64) if weight_n is None else product_ww[q, q]
    offset_q = product_ww[q, :q] / num_rows
    scatter_qq = product_ww[:q, :q] - num_rows * offset_q[:, None] * offset_q[None, :]
    mean_q = shift_w[:q] + offset_q
    if not precise or not bool(loses_digits(scatter_qq[None, :-1, :-1])):
        return RowSums(num_rows, mean_q, scatter_qq)
    return _with_digits(rows, n, torch.cat([mean_q, torch.zeros(len(shift_w) - q, dtype=torch.float64)]))


def _with_digits(rows: _Rows, n: int, mean_w: Tensor) -> RowSums:
    """Return the sums with what they lack, by another pass over the rows."""
    q = rows.x_nd.shape[1] + 1
    zeros_ww = torch.zeros(len(mean_w), len(mean_w), dtype=torch.float64)
    stretches = _by_stretch(n, lambda start, stop: _precise_product(rows, mean_w, start, stop))
    high_ww, low_ww = zeros_ww, zeros_ww
    for terms in stretches:
        high_ww, low_ww = total_of(terms, high_ww, low_ww)
    offset_q = high_ww[q, :q] / n
    centring_qq = -n * offset_q[:, None] * offset_q[None, :]
    scatter_qq, low_qq = total_of([centring_qq], high_ww[:q, :q], low_ww[:q, :q])
    return RowSums(torch.tensor(float(n), dtype=torch.float64), mean_w[:q] + offset_q, scatter_qq, low_qq)


def _by_stretch(n: int, function: Callable[[int, int], _T]) -> list[_T]:
    starts = range(0, n, STRETCH_ROWS)
    number = min(torch.get_num_threads(), len(starts))
    return map_in_threads(lambda start: function(start, min(start + STRETCH_ROWS, n)), starts, number, "moments")


def _padded(width: int) -> int:
    """Return the width to pad to: MKL's float64 product of multiples of 12 takes half the time of others."""
    return width if width <= 8 else -(-width // 12) * 12


@dataclass(frozen=True)
class _Rows:
    x_nd: Tensor
    y_n: Tensor
    rows_n: Tensor | None
    weight_n: Tensor | None

    def buffer(self, num_rows: int) -> Tensor:
        """Return room for so many rows, in the order of x in memory, with a one in each; what pads it stays zero."""
        d = self.x_nd.shape[1]
        if self.x_nd.stride(0) == 1 < d:
            z_cw = torch.zeros(d + 2, num_rows, dtype=torch.float64).T
        else:
            z_cw = torch.zeros(num_rows, _padded(d + 2), dtype=torch.float64)
        z_cw[:, d + 1] = 1.0
        return z_cw

    def write(self, start: int, z_cw: Tensor) -> Tensor:
        """Write the rows from `start` on, with their target, over `z_cw`; return it."""
        where, d = slice(start, start + len(z_cw)), self.x_nd.shape[1]
        rows = where if self.rows_n is None else self.rows_n[where]
        z_cw[:, :d] = self.x_nd[rows]
        z_cw[:, d] = self.y_n[rows]
        return z_cw

    def weighted(self, start: int, z_cw: Tensor) -> Tensor:
        """Return the rows from `start` on, each times its weight."""
        if self.weight_n is None:
            return z_cw
        where = slice(start, start + len(z_cw))
        return z_cw * self.weight_n[where if self.rows_n is None else self.rows_n[where]][:, None]


def _product(rows: _Rows, shift_w: Tensor, start: int, stop: int) -> Tensor:
    """Return zᵀz of z = [x y 1] around the shift, of the rows from `start` to `stop`: the ones have the sums."""
    w = len(shift_w)
    product_ww = torch.zeros(w, w, dtype=torch.float64)
    buffer_cw = rows.buffer(min(stop - start, CHUNK_ROWS))
    for begin in range(start, stop, CHUNK_ROWS):
        z_cw = rows.write(begin, buffer_cw[: min(CHUNK_ROWS, stop - begin)])
        z_cw -= shift_w
        product_ww.addmm_(rows.weighted(begin, z_cw).T, z_cw)
    return product_ww


def _precise_product(rows: _Rows, shift_w: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Return the same as a value and what it lacks."""
    high_ww = low_ww = torch.zeros(len(shift_w), len(shift_w), dtype=torch.float64)
    buffer_cw = rows.buffer(min(stop - start, CHUNK_ROWS))
    for begin in range(start, stop, CHUNK_ROWS):
        z_cw = rows.write(begin, buffer_cw[: min(CHUNK_ROWS, stop - begin)])
        high_ww, low_ww = total_of(product_around(z_cw, shift_w), high_ww, low_ww)
    return high_ww, low_ww
