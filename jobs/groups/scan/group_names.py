"""The group of each row of a chunk, and the names of the groups.

Shapes: n rows · m groups of the chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import Codes
from jobs.sources.columns import Columns, Text


@dataclass(frozen=True)
class Groups:
    """The groups of a chunk: their names (large_string), and the group of each row."""

    name_m: pa.Array
    code_n: Codes


def groups_of(columns: Columns, layout: Layout) -> Groups:
    """Return the group of each row, named by its key; without `group_by` all rows are one group."""
    if not layout.group_by:
        return Groups(pa.array([layout.dataset], pa.large_string()), np.zeros(columns.num_rows, dtype=np.int64))
    return named_by([columns.texts[name] for name in layout.group_by], layout.prefix)


def named_by(texts: Sequence[Text], prefix: str) -> Groups:
    """Return the group of each row by its key, whose columns are `texts`; names begin with `prefix`."""
    code_n = texts[0].code_n.astype(np.int64) + 1  # 0 is an empty cell
    for text in texts[1:]:
        code_n = code_n * (len(text.levels) + 1) + text.code_n + 1
    used, dense_n = _dense(code_n)
    names = [prefix + name for name in _names(used, [text.levels for text in texts])]
    return Groups(pa.array(names, pa.large_string()), dense_n)


def _dense(code_n: Codes) -> tuple[Codes, Codes]:
    """Return the distinct codes, ascending, and the position of each row's code among them."""
    if code_n.max(initial=0) > 4 * len(code_n) + 1024:
        used, dense_n = np.unique(code_n, return_inverse=True)
        return used, dense_n
    present = np.bincount(code_n) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[code_n]


def _names(used: Codes, levels: list[NDArray[np.object_]]) -> list[str]:
    """Return the name of each code. Levels are quoted first, because there are fewer levels than names."""
    rest_m, columns = used, []
    alone = len(levels) == 1
    for of_column in reversed(levels):
        rest_m, place_m = np.divmod(rest_m, len(of_column) + 1)
        named = [level if alone and level.strip('"') else _quoted(level) for level in of_column]
        columns.append(np.array([*named, _quoted("")], dtype=object)[place_m - 1].tolist())  # place 0 is an empty cell
    return columns[0] if alone else [",".join(cells) for cells in zip(*reversed(columns), strict=True)]


def _quoted(cell: str) -> str:
    """Return a cell of a key in csv quoting, so that different keys have different names; empty is two quotes."""
    plain = cell and not any(character in cell for character in ',"\r\n')
    return cell if plain else '"' + cell.replace('"', '""') + '"'
