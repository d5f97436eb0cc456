"""What the columns of a source hold, by one reading of all its rows: numbers, dates or text, and how many levels.

A column of a parquet file is what its type says. A column of text in another file holds numbers if each cell is one, or
is missing; then dates; else levels.

Shapes: n rows, of distinct values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from handler.rows.model_card import Kind
from jobs.sources.columns import Array, Columns, Format, Wanted
from jobs.sources.conversions import days_of_column, is_text, numbers_of_text, text_of
from jobs.sources.parquet import Parquet, numbers_of
from jobs.sources.partitions import Partitioned
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from jobs.sources.resolved import ResolvedSource

ROWS_AT_ONCE = 1 << 16
MANY_LEVELS = 100_000  # of a column: no more are counted
WANTED: dict[Kind, Literal["number", "datetime", "text"]] = {
    "numeric": "number",
    "datetime": "datetime",
    "categorical": "text",
}


@dataclass
class ColumnFacts:
    """What is known of a column: the kinds that all cells read so far have, and their values.

    `unusable` is the type of a column that is neither numbers, nor dates, nor text.
    """

    kinds: tuple[Kind, ...] = ("numeric", "datetime", "categorical")
    low: dict[Kind, float] = field(default_factory=dict)
    high: dict[Kind, float] = field(default_factory=dict)
    levels: set[str] = field(default_factory=set)
    has_missing: bool = False
    unusable: str | None = None

    @property
    def kind(self) -> Kind:
        """The first kind that all cells have; a column whose cells are all missing is one of numbers."""
        if self._is_empty:
            return self.kinds[0]
        return next(kind for kind in self.kinds if kind == "categorical" or kind in self.low)

    @property
    def _is_empty(self) -> bool:
        return not self.low and (self.kinds[0] != "categorical" or not self.levels)

    @property
    def why_useless(self) -> str | None:
        """The reason why no model can use the column; None if one can."""
        if self.unusable is not None:
            return f"is of type {self.unusable}"
        if self._is_empty:
            return "has no value"
        if self.kind == "categorical":
            return None if len(self.levels) + self.has_missing > 1 else f"is {next(iter(self.levels))!r} in every row"
        low, high = self.low[self.kind], self.high[self.kind]
        return f"is {low:g} in every row that has it" if low == high else None

    def add(self, column: Any, kinds: Sequence[Kind], options: ReadOptions, name: str) -> None:
        """Add cells, an array of pyarrow of their distinct values, which have one of these kinds."""
        self.kinds = tuple(kind for kind in self.kinds if kind in kinds and self._adds(column, kind, options, name))

    def _adds(self, column: Any, kind: Kind, options: ReadOptions, name: str) -> bool:
        """Add the cells as a kind; return whether they have it."""
        marks = options.marks(name, WANTED[kind])
        if kind == "categorical":
            text = text_of(column, marks)
            self.has_missing = self.has_missing or bool((text.code_n < 0).any())
            if len(self.levels) <= MANY_LEVELS:
                self.levels.update(text.levels.tolist())
            return True
        try:
            value_n = _numbers(column, marks, options) if kind == "numeric" else days_of_column(column, marks)
        except ValueError:
            self.low.pop(kind, None)
            return False
        there_n = value_n[~np.isnan(value_n)]
        if len(there_n):
            self.low[kind] = min(self.low.get(kind, np.inf), float(there_n.min()))
            self.high[kind] = max(self.high.get(kind, -np.inf), float(there_n.max()))
        return True


@dataclass(frozen=True)
class SourceFacts:
    """The facts of columns by name, and the numbers of rows and of groups."""

    columns: Mapping[str, ColumnFacts]
    num_rows: int
    num_groups: int


def facts_of(source: ResolvedSource, names: Sequence[str]) -> SourceFacts:
    """Return the facts of these columns; the values are of rows that have a target, where the others are left out.

    Raises DataError if a file can't be read or lacks a column.
    """
    facts, num_rows, keys = {name: ColumnFacts() for name in names}, 0, set[tuple[str | None, ...]]()
    wanted = [*(Wanted(name, "raw") for name in names), *(Wanted(name, "text") for name in source.group_by)]
    if source.missing_target == "drop":
        wanted.append(Wanted(source.target))
    for chunk in read_columns(source.fragments, wanted, source.s3, batch_rows=ROWS_AT_ONCE):
        rows = np.flatnonzero(_has_target(chunk, source.target))
        num_rows += len(rows)
        keys.update(_keys(chunk, source.group_by))
        for name in names:
            _add_cells(facts[name], chunk, rows, source.options, name)
    return SourceFacts(facts, num_rows, max(len(keys), 1))


def _has_target(chunk: Columns, target: str) -> NDArray[np.bool_]:
    """Return which rows have a target; all, where it was not read."""
    if target not in chunk.numbers:
        return np.ones(chunk.num_rows, dtype=bool)
    return ~np.isnan(chunk.numbers[target].astype(np.float64, copy=False))


def _add_cells(facts: ColumnFacts, chunk: Columns, rows: NDArray[np.intp], options: ReadOptions, name: str) -> None:
    """Add the cells of some rows; the others are read as well, so the column has a kind only if they have it too."""
    column = chunk.raws[name]
    kinds = _kinds_of_type(column.type, by_type=_has_types(chunk.fragment.format, name))
    if not kinds:
        facts.unusable = str(column.type)
        return
    if len(rows) < chunk.num_rows:
        every_row = ColumnFacts()
        every_row.add(_distinct(column), kinds, options, name)
        kinds, column = every_row.kinds, column.take(pa.array(rows))
    facts.add(_distinct(column), kinds, options, name)


def _keys(chunk: Columns, group_by: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
    """Yield the keys of the groups of a chunk; no key, if there are no groups."""
    if not group_by:
        return iter(())
    codes = np.stack([chunk.texts[name].code_n for name in group_by])
    distinct = np.unique(codes, axis=1).T.tolist()
    levels = [[*chunk.texts[name].levels.tolist(), None] for name in group_by]
    return (tuple(level[code] for level, code in zip(levels, row, strict=True)) for row in distinct)


def _has_types(found: Format, name: str) -> bool:
    """Return whether a file says the type of a column; the names of folders and files of text do not."""
    if isinstance(found, Partitioned):
        return name not in found.values and _has_types(found.inner, name)
    return isinstance(found, Parquet)


def _kinds_of_type(found: Any, *, by_type: bool) -> tuple[Kind, ...]:
    """Return the kinds that a column of this type may have; none for a type that no feature can have."""
    value_type = found.value_type if types.is_dictionary(found) else found
    if types.is_null(value_type):
        return ("numeric", "datetime", "categorical")
    if is_text(value_type):
        return ("categorical",) if by_type else ("numeric", "datetime", "categorical")
    if types.is_date(value_type) or types.is_timestamp(value_type):
        return ("datetime",)
    numeric = types.is_integer(value_type) or types.is_floating(value_type) or types.is_decimal(value_type)
    return ("numeric",) if numeric or types.is_boolean(value_type) else ()


def _distinct(column: Any) -> Any:
    """Return the distinct values of a column, and a null if it has some: text is read level by level."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.unique(column)


def _numbers(column: Any, marks: frozenset[str], options: ReadOptions) -> Array:
    if not is_text(column.type):
        return np.asarray(numbers_of(column), dtype=np.float64)
    try:
        found: Array = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return found  # most columns of numbers, and much faster
    except pa.ArrowInvalid:
        return numbers_of_text(column, marks, options)[0]
