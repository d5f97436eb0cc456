"""Read a delimited file record by record: slower than pyarrow, but strict, and each error has its line and remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from jobs.errors import DataError
from jobs.sources.cells import Batch, bad_rows_of, first_bad_cell, fits
from jobs.sources.columns import Columns, Fragment, Wanted
from jobs.sources.conversions import to_columns
from jobs.sources.headers import Header
from jobs.sources.read_options import ReadOptions
from jobs.sources.records import Lines, Record, records

BATCH_RECORDS = 1 << 14


def read_records(
    fragment: Fragment,
    header: Header,
    lines: Lines,
    wanted: Sequence[Wanted],
    at: Sequence[int],
    options: ReadOptions,
) -> Iterator[Columns]:
    """Yield the rows of the lines. Raises DataError, with line, column and value, at the first that can't be read."""
    reader = _Reader(fragment, header, wanted, at, options)
    found = records(lines, header.location, header.delimiter, options.quotechar, reader.is_row)
    batch: list[Record] = []
    error: DataError | None = None
    try:
        for record in found:
            reader.check_width(record)
            batch.append(record)
            if len(batch) == BATCH_RECORDS:
                yield reader.columns(batch, ended=False)
                batch = []
    except DataError as exc:
        error = exc  # a cell before it may be wrong as well
    if batch or error is None:
        yield reader.columns(batch, ended=error is None)
    if error is not None:
        raise error


class _Reader:
    def __init__(
        self, fragment: Fragment, header: Header, wanted: Sequence[Wanted], at: Sequence[int], options: ReadOptions
    ) -> None:
        self._fragment, self._header, self._wanted, self._at, self._options = fragment, header, wanted, at, options

    def is_row(self, cells: list[str]) -> bool:
        """Return whether the cells of a line are those of a row."""
        return len(cells) == self._header.width and all(
            fits(cells[at], column, self._options) for at, column in zip(self._at, self._wanted, strict=True)
        )

    def check_width(self, record: Record) -> None:
        """Raise DataError if a row has another number of cells than the header; empty ones at its end do not count."""
        line, cells = record
        num_names = len(self._header.names)
        if len(cells) < num_names or (len(cells) > num_names and any(cell.strip() for cell in cells[num_names:])):
            reason = f"the row has {len(cells)} cells, and the header {num_names}"
            raise DataError(
                f"{self._header.location}:{line}: {reason}: correct it, or quote cells that hold the delimiter"
            )

    def columns(self, batch: Sequence[Record], *, ended: bool) -> Columns:
        """Return the rows of a batch.

        Raises DataError at the first cell that is not what is wanted, unless its row is to be marked.
        """
        try:
            return self._converted([cells for _, cells in batch])
        except ValueError as exc:
            whole = Batch(self._header.location, self._header.first_line, self._wanted, self._at, batch, ended)
            if not any(column.bad_cells == "mark" for column in self._wanted):
                raise first_bad_cell(whole, self._options) from exc
            return self._marked(whole)

    def _marked(self, batch: Batch) -> Columns:
        """Return the rows of a batch; a number that does not fit is infinite, which no rule for missing ones takes."""
        bad, misfits = bad_rows_of(batch, self._options), []
        rows = [list(cells) if row in bad else cells for row, (_, cells) in enumerate(batch.records)]
        for row in bad:
            for at, column in zip(self._at, self._wanted, strict=True):
                if not fits(rows[row][at], column, self._options):
                    rows[row][at] = ""
                    misfits.append((row, column))
        try:
            columns = self._converted(rows)
        except ValueError as exc:  # a truth among numbers: the column is wrong, not a row
            records = [(line, cells) for (line, _), cells in zip(batch.records, rows, strict=True)]
            raise first_bad_cell(replace(batch, records=records), self._options) from exc
        for row, column in misfits:
            if column.name in columns.numbers:
                columns.numbers[column.name][row] = np.inf
        return replace(columns, bad=bad)

    def _converted(self, rows: Sequence[list[str]]) -> Columns:
        """Return rows of cells as columns. Raises ValueError for a cell that is not what is wanted."""
        table = pa.table(
            {
                column.name: pa.array([cells[at] for cells in rows], pa.string())
                for at, column in zip(self._at, self._wanted, strict=True)
            }
            or {"": pa.nulls(len(rows))}
        )
        return to_columns(self._fragment, 0, table, self._wanted, np.asarray, self._options)
