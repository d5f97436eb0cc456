"""The cells of features that fill missing values with the median of their group.

A median is no sum: the values of all rows are kept until the last task has read its rows.

Shapes: n rows with a value, of each feature · m groups · k raw features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.rows.model_card import Feature
from jobs.errors import DataError
from jobs.groups.scan.packed import Codes, Floats

MAX_CELLS = 1 << 26  # two gigabytes; with more, only a mean is possible


@dataclass(frozen=True)
class Cells:
    """Values with the feature, the group, and the draw of their row, which says whether it validates."""

    feature_n: NDArray[np.int32]
    code_n: Codes
    value_n: Floats
    draw_n: Floats

    def of(self, k: int) -> Cells:
        """Return the cells of one feature."""
        here_n = self.feature_n == k
        return Cells(self.feature_n[here_n], self.code_n[here_n], self.value_n[here_n], self.draw_n[here_n])

    def medians(self, trains_n: NDArray[np.bool_], num_groups: int) -> Floats:
        """Return the median of the values of each group in rows that train, (m,), NaN for a group without."""
        code_n, value_n = self.code_n[trains_n], self.value_n[trains_n]
        order_n = np.lexsort((value_n, code_n))
        start_m = np.searchsorted(code_n[order_n], np.arange(num_groups))
        count_m = np.bincount(code_n, minlength=num_groups)
        sorted_n = np.append(value_n[order_n], np.nan)
        low_m, high_m = start_m + (count_m - 1) // 2, start_m + count_m // 2
        middle_m: Floats = (sorted_n[np.maximum(low_m, 0)] + sorted_n[np.minimum(high_m, len(value_n))]) / 2
        return np.where(count_m > 0, middle_m, np.nan)


def cells_of(features: Sequence[Feature], value_nk: Floats, code_n: Codes, draw_n: Floats) -> Cells:
    """Return the cells of a chunk of rows that have a value, of the features that fill with the median."""
    found = []
    for k, feature in enumerate(features):
        if feature.missing == "median":
            here_n = np.flatnonzero(np.isfinite(value_nk[:, k]))
            found.append(Cells(np.full(len(here_n), k, np.int32), code_n[here_n], value_nk[here_n, k], draw_n[here_n]))
    return _joined(found)


def merge_cells(cells: Sequence[Cells], codes: Sequence[Codes], features: Sequence[Feature]) -> Cells:
    """Return all cells, their groups numbered anew by `codes`. Raises DataError if they are too many."""
    if sum(len(each.value_n) for each in cells) > MAX_CELLS:
        name = next(feature.name for feature in features if feature.missing == "median")
        raise DataError(f"the median of {name!r} needs more than {MAX_CELLS} values at once: set 'missing: mean'")
    renamed = [
        Cells(each.feature_n, code_m[each.code_n], each.value_n, each.draw_n)
        for each, code_m in zip(cells, codes, strict=False)
    ]
    return _joined(renamed)


def _joined(cells: Sequence[Cells]) -> Cells:
    empty = Cells(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    every = [empty, *cells]
    return Cells(
        np.concatenate([each.feature_n for each in every]),
        np.concatenate([each.code_n for each in every]),
        np.concatenate([each.value_n for each in every]),
        np.concatenate([each.draw_n for each in every]),
    )
