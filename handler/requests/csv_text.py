"""CSV as requests have it: a line for each instance, under a header of names or in the order of the features.

Which of the two it is depends on the model: "2019,2020" are two names where the features have them, else two numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator

from ..errors import PayloadError
from ..wording import listed, shortened
from .instances import DATASET, Table
from .limits import MAX_INSTANCES, MAX_VALUES, check_instances, check_lines, check_width

TRUTHS = ("true", "false")


def table_of_csv(text: str, names: Collection[str] | None, most_features: int) -> Table:
    """Return the columns of a CSV text; empty cells are None.

    The first line is a header if it holds no number, or nothing but `names` of features (None: they are not known yet,
    and a line with the name `dataset` is one). Raises PayloadError for a text that is not CSV, lines of different
    lengths, a repeated name, and, before all is read, for more lines or cells than a request may have; a line has a
    cell for at most `most_features` and the dataset.
    """
    check_lines(text)
    lines = _lines(text, most_features)
    first = next(lines, None)
    if first is None:
        raise PayloadError("the request has no instances: send at least one")
    header = tuple(first) if _is_header(first, names) else None
    if header is not None and len(set(header)) != len(header):
        raise PayloadError(f"the header repeats a name: {listed(header)}")
    rows = [] if header is not None else [first]
    _extend(rows, lines, len(first))
    check_instances(len(rows))
    columns = [[cell if cell and not cell.isspace() else None for cell in column] for column in zip(*rows, strict=True)]
    return Table(header, tuple(columns), len(rows))


def _lines(text: str, most_features: int) -> Iterator[list[str]]:
    """Yield the lines that are not blank. Raises PayloadError for a text that is not CSV, or a long line."""
    try:
        for line in csv.reader(io.StringIO(text), strict=True):
            check_width(len(line), most_features, "a line has", "cells")
            if line:
                yield line
    except csv.Error as exc:
        raise PayloadError(f"the request is not CSV: {shortened(str(exc))}") from exc


def _extend(rows: list[list[str]], lines: Iterator[list[str]], width: int) -> None:
    """Append the lines. Raises PayloadError for a line of another width, or too many of them."""
    most = min(MAX_INSTANCES, MAX_VALUES // width + 1)
    for line in lines:
        if len(line) != width:
            raise PayloadError(f"instance {len(rows)}: the line has {len(line)} cells, and the first one has {width}")
        rows.append(line)
        if len(rows) > most:
            raise PayloadError(f"the request has more than {most} instances: send at most {most} at a time")


def _is_header(line: list[str], names: Collection[str] | None) -> bool:
    if not any(map(_is_number, line)):
        return True
    if names is None:
        return DATASET in line
    cells = set(line)
    return len(cells) == len(line) and (
        cells.issuperset(names) or all(cell == DATASET or cell in names for cell in line)
    )


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number, NaN or true or false, which seldom name a column."""
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in TRUTHS
    return True
