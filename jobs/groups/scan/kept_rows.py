"""The rows of a chunk that stay: rows with a missing cell, where the rule is `drop`, are left out and counted.

Shapes: n rows · m groups of the chunk · r reasons to leave rows out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.groups.scan.group_names import Groups, groups_of
from jobs.groups.scan.layout import Layout
from jobs.sources.checks import left_out_rows
from jobs.sources.columns import Columns
from jobs.sources.row_weights import present


@dataclass(frozen=True)
class Kept:
    """The rows that stay with the groups of all rows, and how many of each group were left out, by reason."""

    columns: Columns
    groups: Groups
    left_out_mr: NDArray[np.int64] | None


def kept_rows(columns: Columns, layout: Layout) -> Kept:
    """Return the rows that stay; a row that is left out needs no key of a group. A row with weight 0 is not there."""
    columns = present(columns, layout.weights)
    reason_n = left_out_rows(columns, layout.card.features, layout.target)
    if reason_n is None:
        return Kept(columns, groups_of(columns, layout), None)
    lost_n = np.zeros(columns.num_rows, dtype=bool)
    for name in layout.group_by:
        lost_n |= (columns.texts[name].code_n < 0) & (reason_n >= 0)
    if lost_n.any():
        columns, reason_n = columns.take(np.flatnonzero(~lost_n)), reason_n[~lost_n]
    groups, left_n, num_reasons = groups_of(columns, layout), reason_n >= 0, len(layout.left_out_reasons)
    code_n = groups.code_n[left_n] * num_reasons + reason_n[left_n]
    counts = np.bincount(code_n, minlength=len(groups.name_m) * num_reasons)
    stay = np.flatnonzero(~left_n)
    here = Groups(groups.name_m, groups.code_n[stay])
    return Kept(columns.take(stay), here, counts.reshape(len(groups.name_m), num_reasons))
