"""Say which cell of a delimited file is wrong, why, and what to do; the cells around it decide the remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from handler.rows.cells import TRUTHS, number_of
from handler.rows.datetimes import days_of
from jobs.errors import DataError
from jobs.sources.columns import Wanted
from jobs.sources.read_options import ReadOptions
from jobs.sources.records import Record

SAMPLE = 1000
EXPLAINED = 20  # of a batch
SEPARATORS = (
    {"decimal": ","},
    {"thousands": ","},
    {"thousands": "."},
    {"thousands": "'"},
    {"thousands": " "},
    {"decimal": ",", "thousands": "."},
    {"decimal": ",", "thousands": " "},
)
SIGNS = "$€£¥%"
MOST_SKIPPED = 20


@dataclass(frozen=True)
class Batch:
    """Consecutive records, one of which has a bad cell; `first_line` is where the rows of the file begin.

    `at` are the positions of the wanted columns; `ended` says that no record follows.
    """

    location: str
    first_line: int
    wanted: Sequence[Wanted]
    at: Sequence[int]
    records: Sequence[Record]
    ended: bool


def fits(cell: str, column: Wanted, options: ReadOptions) -> bool:
    """Return whether a cell is what is wanted of its column, or missing."""
    marks = options.marks(column.name, column.content)
    try:
        if column.content == "number":
            number_of(cell, marks, decimal=options.decimal, thousands=options.thousands)
        elif column.content == "datetime":
            days_of(cell, marks)
        else:
            cell.encode()
    except ValueError:
        return False
    return True


def first_bad_cell(batch: Batch, options: ReadOptions) -> DataError:
    """Return the error of the first cell that does not fit its column."""
    first = next(_misfits(batch, options), None)
    return DataError(_explained(*first, batch, options)) if first else _truth_among_numbers(batch, options)


def bad_rows_of(batch: Batch, options: ReadOptions) -> dict[int, str]:
    """Return the error of each record with a cell that does not fit its column, by its position in the batch.

    The first errors have a remedy, which takes a look at the cells around.
    """
    errors: dict[int, str] = {}
    for row, column, at in _misfits(batch, options):
        if row not in errors:
            explained = len(errors) < EXPLAINED
            errors[row] = (_explained if explained else _named)(row, column, at, batch, options)
    return errors


def _misfits(batch: Batch, options: ReadOptions) -> Iterator[tuple[int, Wanted, int]]:
    """Yield the record, the column and the position of each cell that does not fit its column."""
    for row, (_, cells) in enumerate(batch.records):
        for column, at in zip(batch.wanted, batch.at, strict=True):
            if not fits(cells[at], column, options):
                yield row, column, at


def _explained(row: int, column: Wanted, at: int, batch: Batch, options: ReadOptions) -> str:
    cells = batch.records[row][1]
    return f"{_place(row, column, at, batch)} {_why(cells[at], column, row, batch, options)}"


def _named(row: int, column: Wanted, at: int, batch: Batch, options: ReadOptions) -> str:
    kind = "a number" if column.kind == "number" else f"a {column.kind}"
    return f"{_place(row, column, at, batch)} is not {kind}: correct it"


def _place(row: int, column: Wanted, at: int, batch: Batch) -> str:
    line, cells = batch.records[row]
    cell = cells[at].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"{batch.location}:{line}: column {column.name!r}: {shown(cell)}"


def shown(value: object) -> str:
    """Return a value for a message: on one line, and at most 60 characters long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def truth_among_numbers(place: str, name: str, truth: str) -> DataError:
    """Return the error of a truth in a column of numbers."""
    remedy = f"set 'na_values: [{json.dumps(truth)}]' if it stands for a missing value, or correct it"
    return DataError(f"{place}: column {name!r}: {truth!r} is among numbers: {remedy}")


def _truth_among_numbers(batch: Batch, options: ReadOptions) -> DataError:
    for column, at in zip(batch.wanted, batch.at, strict=True):
        of_column = [(line, cells[at].strip()) for line, cells in batch.records] if column.kind == "number" else []
        truths = [(line, cell) for line, cell in of_column if cell in TRUTHS]
        if truths and any(_is_other_number(cell, column, options) for _, cell in of_column):
            line, cell = truths[0]
            return truth_among_numbers(f"{batch.location}:{line}", column.name, cell)
    return DataError(f"{batch.location}: the file can't be read: check its options")


def _is_other_number(cell: str, column: Wanted, options: ReadOptions) -> bool:
    marks = options.marks(column.name, column.kind)
    number = number_of(cell, marks, decimal=options.decimal, thousands=options.thousands)
    return not math.isnan(number) and number not in (0.0, 1.0)


def _why(cell: str, column: Wanted, row: int, batch: Batch, options: ReadOptions) -> str:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return "has a byte that is not UTF-8: set 'encoding', such as 'encoding: cp1252'"
    if column.kind == "datetime":
        return f"is neither a date nor a time: write it as 2024-01-31 or 2024-01-31T12:30:00{_or_missing(cell)}"
    return f"is not a number: {_remedy(cell, column, row, batch, options)}"


def _remedy(cell: str, column: Wanted, row: int, batch: Batch, options: ReadOptions) -> str:
    """Return what to do about a cell that is not a number; what works for the cells around it comes first."""
    if separators := _separators(cell, column, row, batch, options):
        return f"set {separators}"
    position = batch.at[list(batch.wanted).index(column)]
    around = [cells[position] for _, cells in islice(batch.records, max(row - SAMPLE, 0), row + SAMPLE)]
    if not _is_mostly(around, column, options):
        return _remedy_of_column(cell, around, column, options)
    if row == 0 and _is_first(batch) and _is_without_numbers(batch.records[0], batch, options):
        return f"set 'skiprows: {_with_line(options, batch.records[0][0])}' if it is a row of units{_or_missing(cell)}"
    if batch.ended and row == len(batch.records) - 1:
        return f"set 'skipfooter: {options.skipfooter + 1}' if the last row is of totals{_or_missing(cell)}"
    if sign := _sign_of(cell):
        return f"write it without {sign!r}"
    return f"correct it{_or_missing(cell)}"


def _remedy_of_column(cell: str, around: Sequence[str], column: Wanted, options: ReadOptions) -> str:
    """Return what to do about a column of which most cells are not numbers."""
    if (sign := _sign_of(cell)) and _is_mostly([each.replace(sign, "") for each in around], column, options):
        return f"write the column without {sign!r}"
    dates = "set 'kind: datetime' for dates" if _are_dates([cell, *around]) else "correct it"
    return f"{dates}, or set 'kind: categorical' for a feature of categories; a target has to be numbers"


def _sign_of(cell: str) -> str:
    """Return the sign of a currency or of a share that a cell has; empty if it has none."""
    return next((sign for sign in SIGNS if sign in cell), "")


def _or_missing(cell: str) -> str:
    mark = json.dumps(cell.strip(), ensure_ascii=False)
    return f", or set 'na_values: [{mark}]' if it stands for a missing value" if len(mark) <= 40 else ""


def _separators(cell: str, column: Wanted, row: int, batch: Batch, options: ReadOptions) -> str:
    """Return the separators with which this cell and most others are numbers; empty if there are none."""
    numbers = [(at, each) for at, each in zip(batch.at, batch.wanted, strict=True) if each.kind == "number"]
    sample = [cells for _, cells in islice(batch.records, max(row - SAMPLE, 0), row + SAMPLE)]

    def misfits(tried: ReadOptions) -> int:
        return sum(not fits(cells[at], each, tried) for cells in sample for at, each in numbers)

    best: list[dict[str, str]] = []
    least = misfits(options)
    for separators in SEPARATORS:
        tried = replace(options, **separators)  # type: ignore[arg-type]
        if tried.decimal != tried.thousands and fits(cell, column, tried) and (count := misfits(tried)) <= least:
            best = [separators] if count < least else [*best, separators]
            least = count
    simple = [each for each in best if not any(other.items() < each.items() for other in best)]
    shown_of = [" and ".join(f"'{key}: {json.dumps(mark)}'" for key, mark in each.items()) for each in simple]
    return " or ".join(shown_of[:2])


def _is_mostly(around: Sequence[str], column: Wanted, options: ReadOptions) -> bool:
    """Return whether most cells that are not missing are what is wanted."""
    marks = options.marks(column.name, column.kind)
    cells = [cell for cell in around if cell.strip() not in marks]
    return 2 * sum(fits(cell, column, options) for cell in cells) >= len(cells)


def _are_dates(cells: Sequence[str]) -> bool:
    dates = Wanted("", "datetime")
    return fits(cells[0], dates, ReadOptions()) and _is_mostly(cells, dates, ReadOptions())


def _is_first(batch: Batch) -> bool:
    return batch.records[0][0] - batch.first_line < MOST_SKIPPED


def _is_without_numbers(record: Record, batch: Batch, options: ReadOptions) -> bool:
    numbers = [(at, each) for at, each in zip(batch.at, batch.wanted, strict=True) if each.kind == "number"]
    marks = [options.marks(each.name, each.kind) for _, each in numbers]
    cells = [record[1][at] for at, _ in numbers]
    return all(
        cell.strip() in mark or not fits(cell, each, options)
        for cell, mark, (_, each) in zip(cells, marks, numbers, strict=True)
    )


def _with_line(options: ReadOptions, line: int) -> list[int]:
    """Return the lines to skip, from 0, with one more."""
    skiprows = options.skiprows
    before: Iterator[int] | Sequence[int] = range(skiprows) if isinstance(skiprows, int) else skiprows
    return [*before, line - 1]
