"""Read a CSV body: lines of cells, after a header or in feature order."""

from __future__ import annotations

import csv
import io

from ..errors import PayloadError
from ..wording import listed, shortened
from .instances import Table
from .payload import Query, Request


def read(request: Request) -> Query:
    """Return the query of a CSV body. Raises PayloadError if it is none."""
    return Query(_table_of_csv(text_of(request.body)), dataset=request.dataset)


def _table_of_csv(text: str) -> Table:
    """Return the columns of a CSV text; a first line without any number is a header."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as exc:
        raise PayloadError(f"the request is not CSV: {shortened(str(exc))}") from exc
    header = None if not lines or any(map(_is_number, lines[0])) else lines.pop(0)
    width = len(header) if header is not None else len(lines[0]) if lines else 0
    ragged = next((row for row, line in enumerate(lines) if len(line) != width), None)
    if ragged is not None:
        raise PayloadError(f"instance {ragged}: the line has {len(lines[ragged])} cells, and the first one has {width}")
    if header is not None and len(set(header)) != len(header):
        raise PayloadError(f"the header repeats a name: {listed(header)}")
    columns = tuple(tuple(cell if cell.strip() else None for cell in column) for column in zip(*lines, strict=True))
    return Table(None if header is None else tuple(header), columns or ((),) * width, len(lines))


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number, NaN or true or false, which name no column."""
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in ("true", "false")
    return True


def text_of(body: object) -> str:
    """Return a body as text, without a byte order mark. Raises PayloadError if it is not UTF-8."""
    if isinstance(body, str):
        return body.removeprefix("\ufeff")
    assert isinstance(body, (bytes, bytearray))  # noqa: S101 - a format by content type reads no decoded JSON
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PayloadError(f"the request is not UTF-8: {exc.reason} at byte {exc.start}") from exc
