"""What the sums of groups lack for want of digits, where columns are nearly dependent: see `precise_products`.

It belongs to sums that were made in one go: a group whose rows come in several blocks does without.

Shapes: n rows · m groups · d encoded columns · q columns of z without the ones: d + 1 · v partial sums, packed ·
f packed moments, or the q (q + 1) / 2 products among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.engines.double_double import total_of, two_sum
from jobs.engines.moments import Moments
from jobs.engines.precise_products import LEFT_OF_VARIANCE, MANTISSA_BITS, TINY, loses_digits
from jobs.groups.scan.packed import Codes, Floats, unpack

MAX_ROWS = 1 << 16  # a group of more is likely to go on in the next block
FEW_COLUMNS = 16


def add_digits(packed_mf: Floats, x_nd: Floats, y_n: Floats, code_n: Codes) -> Floats | None:
    """Round the sums of groups that lose digits once, in place, and return what they lack, (m, f); None: no group does.

    `packed_mf` are the sums of these rows. It takes a second look at the rows of such groups alone.
    """
    q = x_nd.shape[1] + 1
    count_m = packed_mf[:, 0]
    fitting_m = (count_m > q) & (count_m <= MAX_ROWS)
    if not fitting_m.any() or q < 3:
        return None
    chosen = np.flatnonzero(fitting_m & _lose_digits(packed_mf, q - 1))
    if not len(chosen):
        return None
    chosen_m = np.zeros(len(packed_mf), dtype=np.bool_)
    chosen_m[chosen] = True
    row = np.flatnonzero(chosen_m[code_n])
    row = row[np.argsort(code_n[row], kind="stable")]
    lacks_mf = np.zeros((len(packed_mf), q * (q + 1) // 2))
    packed_mf[chosen], lacks_mf[chosen] = _precise(
        packed_mf[chosen], [*x_nd[row].T, y_n[row]], np.searchsorted(chosen, code_n[row])
    )
    return lacks_mf


def _lose_digits(packed_mf: Floats, d: int) -> NDArray[np.bool_]:
    """Return what `loses_digits` does, (m,): for few columns by vectors of all groups, which stay in the cache."""
    if d > FEW_COLUMNS:
        loses_m: NDArray[np.bool_] = loses_digits(unpack(packed_mf).scatter_mdd).numpy()
        return loses_m
    products = packed_mf[:, 2 + d :].T.copy()  # what follows eliminates in place, and one group is contiguous as it is
    left = dict(zip(combinations_with_replacement(range(d + 1), 2), products, strict=True))
    variances = [left[i, i].copy() for i in range(d)]
    loses_m = np.zeros(len(packed_mf), dtype=np.bool_)
    for i, variance_m in enumerate(variances):
        pivot_m = left[i, i]
        loses_m |= (pivot_m < LEFT_OF_VARIANCE * variance_m) & (variance_m > TINY)
        inverse_m = 1 / np.where(pivot_m > TINY, pivot_m, 1.0)
        for first in range(i + 1, d):
            factor_m = left[i, first] * inverse_m
            for second in range(first, d):
                left[first, second] -= factor_m * left[i, second]
    return loses_m


def _precise(packed_mf: Floats, columns: Sequence[Floats], place_n: Codes) -> tuple[Floats, Floats]:
    """Return packed sums of the rows of sorted groups, rounded once, and what they lack, (m, f)."""
    q, count_m = len(columns), packed_mf[:, 0]
    start_m = np.searchsorted(place_n, np.arange(len(packed_mf)))
    mean_mq = packed_mf[:, 1 : 1 + q]
    cuts = [_cut(column, mean_mq[:, at], place_n, start_m) for at, column in enumerate(columns)]
    offset = [np.add.reduceat(coarse + fine, start_m) / count_m for coarse, fine in cuts]
    sums, lacks = [], []
    for i, j in combinations_with_replacement(range(q), 2):
        (coarse, fine), (other_coarse, other_fine) = cuts[i], cuts[j]
        high_m = np.add.reduceat(coarse * other_coarse, start_m)
        low_m = np.add.reduceat(coarse * other_fine + fine * (other_coarse + other_fine), start_m)
        high_m, low_m = total_of([-count_m * offset[i] * offset[j]], high_m, low_m)
        sums.append(high_m)
        lacks.append(low_m)
    mean_mq = mean_mq + np.stack(offset, axis=1)
    return np.concatenate([count_m[:, None], mean_mq, np.stack(sums, axis=1)], axis=1), np.stack(lacks, axis=1)


def _cut(column_n: Floats, mean_m: Floats, place_n: Codes, start_m: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return a column around the means as a part whose products are summed without rounding, and the rest."""
    around_n, lost_n = two_sum(column_n, -mean_m[place_n])
    largest_m = np.maximum(np.maximum.reduceat(np.abs(around_n), start_m), TINY)
    mantissa_m, _ = np.frexp(largest_m)
    count_m = np.diff(np.append(start_m, len(column_n)))
    bits_m = (MANTISSA_BITS - np.ceil(np.log2(np.maximum(count_m, 2)))) // 2
    unit_n = (largest_m / mantissa_m * 2.0**-bits_m)[place_n]
    coarse_n = np.round(around_n / unit_n) * unit_n
    return coarse_n, (around_n - coarse_n) + lost_n


def combine_lacks(lacks_vf: Floats, count_v: Floats, code_v: Codes, num_groups: int) -> Floats:
    """Return what the sums of each group lack together: that of its only rows with any, else 0, as it isn't known."""
    filled_v = count_v > 0
    alone_v = filled_v & (np.bincount(code_v[filled_v], minlength=num_groups)[code_v] == 1)
    lacks_mf = np.zeros((num_groups, lacks_vf.shape[1]))
    lacks_mf[code_v[alone_v]] = lacks_vf[alone_v]
    return lacks_mf


def with_lacks(moments: Moments, lacks_mf: Floats, column_d: NDArray[np.intp]) -> Moments:
    """Return moments of the encoded columns at `column_d` with what their sums lack."""
    q = int((2 * lacks_mf.shape[1]) ** 0.5)
    full_mqq = np.zeros((len(lacks_mf), q, q))
    i, j = np.triu_indices(q)
    full_mqq[:, i, j] = full_mqq[:, j, i] = lacks_mf
    kept_mdd = full_mqq[:, column_d[:, None], column_d]
    cross_md = torch.from_numpy(full_mqq[:, column_d, q - 1])
    return replace(moments, scatter_low_mdd=torch.from_numpy(kept_mdd), cross_low_md=cross_md)
