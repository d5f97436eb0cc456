"""The encoded rows of groups, which minibatches need: they can be split by group, merged, and sorted.

All rows of a group are sent to its part and sorted there, so the result does not depend on the order of reading.

Shapes: n rows · m groups · d encoded columns, one for every level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jobs.groups.scan.packed import Codes, Floats
from jobs.sources.row_keys import Keys, canonical_order


@dataclass(frozen=True)
class Rows:
    """Rows: `code_n` is the group of each row, `key_n` its hash, `weight_n` its weight (None: all are 1)."""

    code_n: Codes
    key_n: Keys
    x_nd: Floats
    y_n: Floats
    weight_n: Floats | None = None

    def take(self, index_n: NDArray[np.intp]) -> Rows:
        """Return the rows at `index_n`, in that order."""
        weight_n = None if self.weight_n is None else self.weight_n[index_n]
        return Rows(self.code_n[index_n], self.key_n[index_n], self.x_nd[index_n], self.y_n[index_n], weight_n)

    def split(self, part_m: Codes, num_parts: int) -> list[Rows]:
        """Return the rows of each part, by the part of each group; groups are numbered anew within their part."""
        order_m = np.argsort(part_m, kind="stable")
        within_m = np.empty_like(order_m)
        within_m[order_m] = np.arange(len(order_m)) - np.searchsorted(part_m[order_m], part_m[order_m])
        part_n = part_m[self.code_n]
        order_n = np.argsort(part_n, kind="stable")
        index = np.split(order_n, np.searchsorted(part_n[order_n], np.arange(1, num_parts)))
        return [replace(rows, code_n=within_m[rows.code_n]) for rows in map(self.take, index)]

    def ordered(self) -> Rows:
        """Return the same rows, sorted by group and canonical order."""
        return self.take(canonical_order(self.key_n, self.code_n))


def merge_rows(rows: Sequence[Rows | None], codes: Sequence[Codes]) -> Rows | None:
    """Return all rows, their groups numbered anew by `codes`; None if none has rows."""
    present = [(each, code_m) for each, code_m in zip(rows, codes, strict=True) if each is not None]
    if not present:
        return None
    return Rows(
        code_n=np.concatenate([code_m[each.code_n] for each, code_m in present]),
        key_n=np.concatenate([each.key_n for each, _ in present]),
        x_nd=np.concatenate([each.x_nd for each, _ in present]),
        y_n=np.concatenate([each.y_n for each, _ in present]),
        weight_n=np.concatenate(weights)
        if (weights := [w for each, _ in present if (w := each.weight_n) is not None])
        else None,
    )
