"""The values of reading: formats and fragments of files, the columns to read, and the columns that were read.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model_store.objects.s3_settings import S3Settings

Array = NDArray[Any]


class Format(Protocol):
    """A format of table files, a value that travels with its fragments; docs/extending.md shows how to add one.

    Every method raises DataError if a file is not of the format, and SourceError if it can't be reached.
    """

    @property
    def rereads_for_cell(self) -> bool:
        """Whether `cell` reads the file again, which is too slow to be done for thousands of cells."""

    def fragments(self, location: str, size_bytes: int, s3: S3Settings) -> Sequence[Fragment]:
        """Return the fragments of a file, in the order of its rows."""

    def column_names(self, location: str, s3: S3Settings) -> tuple[str, ...]:
        """Return the names of the file's columns."""

    def read(
        self, fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None
    ) -> Iterator[Columns]:
        """Yield the rows of some fragments of one file in chunks, of bounded memory unless `batch_rows` is None.

        Raises DataError, with file, row, column and value, for a cell of another kind.
        """

    def cell(self, columns: Columns, row: int, name: str, s3: S3Settings) -> tuple[str, str]:
        """Return the place and the content of the cell at `row` (from 0, in these columns), for a message.

        The place is `file:line` for delimited files (the header is line 1), `file: row 17` (from 1) for parquet.
        """


@dataclass(frozen=True)
class Fragment:
    """A delimited file, or a row group of a parquet file: the smallest piece that a task reads alone.

    `location` is a path or an s3:// URL. `first_row` counts the rows of the file (from 0) before it; `num_rows` is None
    where only reading tells, as with delimited files. `size_bytes` is that of the file, or of the row group when
    uncompressed.
    """

    location: str
    size_bytes: int
    format: Format
    row_group: int = 0
    first_row: int = 0
    num_rows: int | None = None


@dataclass(frozen=True)
class Wanted:
    """A column to read: as numbers or days (from 1970-01-01 UTC), NaN where a cell is missing, or as text.

    `raw`: as pyarrow has it, of the type that a file has, or of text, where nothing is missing and blanks stay; `meant`
    is what the cells are meant to be. A cell of another kind is an error; with `bad_cells` `mark`, its row is bad, and
    the others are read: see `Columns.bad`.
    """

    name: str
    kind: Literal["number", "datetime", "text", "raw"] = "number"
    meant: Literal["number", "datetime", "text"] = "text"
    bad_cells: Literal["error", "mark"] = "error"

    @property
    def content(self) -> Literal["number", "datetime", "text"]:
        """What the cells are, or are meant to be."""
        return self.meant if self.kind == "raw" else self.kind


@dataclass(frozen=True)
class Text:
    """A column of text: `code_n` (int32) is the position of each cell in `levels`, -1 where it is empty.

    `levels` is an array of distinct `str`, of dtype object, in the order in which they came.
    """

    code_n: NDArray[np.int32]
    levels: Array

    def cells(self) -> Array:
        """Return the column as an array of `str`, of dtype object, None where a cell is empty."""
        padded: Array = np.array([*self.levels, None], dtype=object)
        return padded[self.code_n]


@dataclass(frozen=True)
class Columns:
    """`num_rows` consecutive rows of a file, from `first_row` of it (from 0): the columns that were wanted, by name.

    Numbers are of the dtype that the file holds, floats with NaN where a cell is empty. `bad` has the error of each row
    with a cell of another kind, by its position; such a number is infinite.
    """

    fragment: Fragment
    first_row: int
    num_rows: int
    numbers: Mapping[str, Array]
    texts: Mapping[str, Text]
    raws: Mapping[str, Any] = field(default_factory=dict)  # arrays of pyarrow
    row_n: NDArray[np.intp] | None = None  # where some rows were left out: the place of each row after `first_row`
    bad: Mapping[int, str] = field(default_factory=dict)
    truths: Mapping[str, int] = field(default_factory=dict)  # the first row with a truth, of columns that have some

    def file_row(self, row: int) -> int:
        """Return the row of the file (from 0) that is at `row` here."""
        return self.first_row + (row if self.row_n is None else int(self.row_n[row]))

    def take(self, rows: slice | NDArray[np.intp]) -> Columns:
        """Return some of the rows: those of a slice without a copy, or those at an index."""
        numbers = {name: value_n[rows] for name, value_n in self.numbers.items()}
        texts = {name: Text(text.code_n[rows], text.levels) for name, text in self.texts.items()}
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.num_rows)
            raws = {name: cells.slice(start, stop - start) for name, cells in self.raws.items()}
            bad = {row - start: error for row, error in self.bad.items() if start <= row < stop}
            first_row = self.first_row + (start if self.row_n is None else 0)
            row_n = None if self.row_n is None else self.row_n[rows]
            return Columns(self.fragment, first_row, stop - start, numbers, texts, raws, row_n, bad)
        raws = {name: cells.take(pa.array(rows)) for name, cells in self.raws.items()}
        bad = {at: self.bad[row] for at, row in enumerate(rows.tolist()) if row in self.bad} if self.bad else {}
        row_n = rows if self.row_n is None else self.row_n[rows]
        return Columns(self.fragment, self.first_row, len(rows), numbers, texts, raws, row_n, bad)
