"""The group of each row of a block, and the names of the groups.

Shapes: n rows · m groups of the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.packed import Codes
from jobs.sources.columns import Columns


@dataclass(frozen=True)
class Groups:
    """The groups of a block: their names (large_string), and the group of each row."""

    name_m: pa.Array
    code_n: Codes


def groups_of(columns: Columns, layout: Layout) -> Groups:
    """Return the group of each row, named by its key; without `group_by` all rows are of the dataset's own."""
    if not layout.group_by:
        return Groups(pa.array([layout.dataset], pa.large_string()), np.zeros(columns.num_rows, dtype=np.int64))
    texts = [columns.texts[name] for name in layout.group_by]
    code_n = texts[0].code_n.astype(np.int64) + 1  # 0 is an empty cell
    for text in texts[1:]:
        code_n = code_n * (len(text.levels) + 1) + text.code_n + 1
    used, dense_n = _dense(code_n)
    names = _names(used, [text.levels for text in texts])
    return Groups(pa.array(names, pa.large_string()), dense_n)


def _dense(code_n: Codes) -> tuple[Codes, Codes]:
    """Return the codes in use, rising, and each row's place among them."""
    if code_n.max(initial=0) > 4 * len(code_n) + 1024:
        used, dense_n = np.unique(code_n, return_inverse=True)
        return used, dense_n
    present = np.bincount(code_n) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[code_n]


def _names(used: Codes, levels: list[NDArray[np.object_]]) -> list[str]:
    """Return the name of each code; the parts of a key are named level by level, as there are fewer of these."""
    rest_m, parts = used, []
    alone = len(levels) == 1
    for of_column in reversed(levels):
        rest_m, place_m = np.divmod(rest_m, len(of_column) + 1)
        named = [level if alone and level.strip('"') else _quoted(level) for level in of_column]
        parts.append(np.array([*named, _quoted("")], dtype=object)[place_m - 1].tolist())  # place 0 is an empty cell
    return parts[0] if alone else [",".join(cells) for cells in zip(*reversed(parts), strict=True)]


def _quoted(part: str) -> str:
    """Return a part of a key as a csv cell, so that no two keys have one name; an empty cell is two quotes."""
    plain = part and not any(character in part for character in ',"\r\n')
    return part if plain else '"' + part.replace('"', '""') + '"'
