"""The rows of small groups that validate: a group needs some that do, and some that train.

Shapes: m groups · h = 1 + folds (0: the rows that only train) · f packed moments · q columns of z without the ones.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import Floats, combine, pack, unpack
from jobs.groups.scan.partial import Partial


def total(packed_mhf: Floats) -> Floats:
    """Return the packed moments of all rows of each group, (m, f)."""
    m, num_folds, width = packed_mhf.shape
    if num_folds == 1:
        return packed_mhf[:, 0]
    return combine(packed_mhf.reshape(-1, width), np.repeat(np.arange(m), num_folds), m)


def with_validation(partial: Partial, layout: Layout) -> tuple[Floats, Floats | None, dict[str, str]]:
    """Return moments in which every group has rows that validate and rows that train; see `fold_of_dataset`.

    With weights, also the numbers of rows.
    """
    packed_mhf, split, extremes = partial.moments_mhf, layout.split, partial.extremes
    if split is None or extremes is None:
        return packed_mhf, partial.count_mh, {}
    count_mh = partial.rows_mh
    alone_m = (count_mh > 0).sum(1) == 1
    equal_m = alone_m & (extremes.draw_m2[:, 0] == extremes.draw_m2[:, 1])
    failed = dict.fromkeys(
        names_of(partial, equal_m), "validation needs two different rows or more: add rows, or set 'validation: none'"
    )
    short_m = np.flatnonzero(alone_m & ~equal_m)
    if not len(short_m):
        return packed_mhf, partial.count_mh, failed
    packed_mhf, count_mh = packed_mhf.copy(), count_mh.copy()
    counted_mh = None if partial.count_mh is None else count_mh
    whole_mf, whole_m = total(packed_mhf[short_m]), count_mh[short_m].sum(1)
    low_m, high_m = extremes.count_m2[short_m].T
    low_mf, high_mf = (
        _one_row(extremes.row_m2q[short_m, side], extremes.count_m2[short_m, side], weighted=counted_mh is not None)
        for side in (0, 1)
    )
    if split.fraction is not None:
        # If no row validates, those with the lowest draw do. If none trains, those with the highest draw do.
        none_validates_m1 = count_mh[short_m, :1] > 0
        validates_mf = np.where(none_validates_m1, low_mf, _less(whole_mf, high_mf))
        packed_mhf[short_m, 0], packed_mhf[short_m, 1] = _less(whole_mf, validates_mf), validates_mf
        validates_m = np.where(none_validates_m1[:, 0], low_m, whole_m - high_m)
        count_mh[short_m, 0], count_mh[short_m, 1] = whole_m - validates_m, validates_m
        return packed_mhf, counted_mh, failed
    apart_m = low_m + high_m == whole_m
    packed_mhf[short_m[apart_m]] = 0.0
    count_mh[short_m[apart_m]] = 0.0
    packed_mhf[short_m[apart_m], 1], packed_mhf[short_m[apart_m], 2] = low_mf[apart_m], high_mf[apart_m]
    count_mh[short_m[apart_m], 1], count_mh[short_m[apart_m], 2] = low_m[apart_m], high_m[apart_m]
    together_m = np.zeros_like(alone_m)
    together_m[short_m[~apart_m]] = True
    reason = f"all its rows fall into one of {split.folds} folds: set another seed, or fewer folds"
    return packed_mhf, counted_mh, failed | dict.fromkeys(names_of(partial, together_m), reason)


def names_of(partial: Partial, mask_m: NDArray[np.bool_]) -> list[str]:
    """Return the names of some groups."""
    names: list[str] = partial.name_m.filter(pa.array(mask_m)).to_pylist()
    return names


def _one_row(row_mq: Floats, count_m: Floats, *, weighted: bool) -> Floats:
    """Return the packed moments of one row for each group, repeated `count_m` times; its weight, if any, is last."""
    if weighted:
        row_mq, count_m = row_mq[:, :-1], count_m * row_mq[:, -1]
    m, q = row_mq.shape
    return np.concatenate([count_m[:, None], row_mq, np.zeros((m, q * (q + 1) // 2))], axis=1)


def _less(whole_mf: Floats, part_mf: Floats) -> Floats:
    """Return the packed moments of the rows of `whole_mf` without those of `part_mf`."""
    return pack(unpack(whole_mf).without(unpack(part_mf)))
