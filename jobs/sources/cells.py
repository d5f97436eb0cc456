"""Read a delimited file cell by cell: slow, but it gives the line and the text of a cell that the fast reader refused.

Rows end at line ends outside quotes; blank lines are skipped. A number is a text that Python's `float` accepts, without
underscores; truths count as 1 and 0: see `handler.cells`.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from handler.cells import number_of
from jobs.errors import DataError
from jobs.sources.columns import Wanted
from jobs.sources.filesystems import open_filesystem, reading
from model_store.objects.s3_settings import S3Settings

csv.field_size_limit(1 << 30)  # a long cell of another column is no reason to stop looking


def first_bad_cell(location: str, delimiter: str, wanted: Sequence[Wanted], s3: S3Settings) -> DataError | None:
    """Return the error of the first row that has another number of cells, or text in a column of numbers."""
    with _rows(location, delimiter, s3) as rows:
        _, header = next(rows)
        numbers = [(column.name, header.index(column.name)) for column in wanted if column.kind == "number"]
        cells = None
        for line, cells in rows:
            where = f"{location}:{line}"
            if len(cells) != len(header):
                reason = f"the row has {len(cells)} cells, and the header {len(header)}"
                return DataError(f"{where}: {reason}: correct it, or quote cells that hold the delimiter")
            for name, at in numbers:
                if not _is_number(cells[at]):
                    return DataError(f"{where}: column {name!r}: {shown(cells[at])} {_why_not(cells[at])}")
    if cells is None:
        return DataError(f"{location}: the file has a header and no rows: add rows")
    return None


def cell_at(location: str, delimiter: str, row: int, column: str, s3: S3Settings) -> tuple[int, str]:
    """Return the line (from 1) of a row (from 0, without the header), and the text of its cell in `column`."""
    with _rows(location, delimiter, s3) as rows:
        _, header = next(rows)
        for line, cells in itertools.islice(rows, row, None):
            return line, cells[header.index(column)]
    raise DataError(f"{location}: row {row} is gone: the file changed while it was read; start again")


def unclosed_quote(location: str, delimiter: str, s3: S3Settings) -> DataError:
    """Return the error with the line of the quote that is not closed."""
    with _rows(location, delimiter, s3) as rows:
        line, _ = deque(rows, maxlen=1)[0]
    return DataError(f"{location}:{line}: a quote is opened and never closed: close it, or double it")


@contextmanager
def _rows(location: str, delimiter: str, s3: S3Settings) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Yield the rows of a file: the line (from 1) at which each begins, and its cells."""
    filesystem, path = open_filesystem(location, s3)
    with reading(location, s3), filesystem.open_input_stream(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        yield _numbered(location, csv.reader(text, delimiter=delimiter))


def _numbered(location: str, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1  # type: ignore[attr-defined]
    except csv.Error as exc:
        raise DataError(f"{location}:{line}: the row can't be read: {exc}. Correct it") from exc


def _is_number(cell: str) -> bool:
    try:
        number_of(cell)
    except ValueError:
        return False
    return True


def _why_not(cell: str) -> str:
    if _is_number(cell.replace(",", "").replace(" ", "").replace("'", "")) and cell.strip():
        return "is not a number: write it without separators, with a point before the decimals"
    return "is not a number: correct it, or set 'kind: categorical' for a feature of categories"


def shown(value: object) -> str:
    """Return a value for a message: on one line, and at most 60 characters long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
