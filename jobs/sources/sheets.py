"""Open a sheet of an Excel file as text with commas: so it is read, checked and explained as a csv file is.

A row of the sheet is a line; empty rows are blank lines. Numbers keep all their digits, whole ones have no point; days
and times are in ISO 8601.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobs.errors import DataError
from jobs.sources.filesystems import open_filesystem, reading
from jobs.sources.read_options import ReadOptions
from jobs.sources.text_stream import TextStream
from model_store.objects.s3_settings import S3Settings

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook


@contextmanager
def open_sheet(location: str, options: ReadOptions, s3: S3Settings) -> Iterator[TextStream]:
    """Open the sheet that the options name. Raises DataError if it is absent, or the file is not of Excel."""
    filesystem, path = open_filesystem(location, s3)
    with reading(location, s3), filesystem.open_input_file(path) as file:
        book = _book(location, file.read())
    names = book.sheet_names
    asked = options.sheet_name
    if asked not in names and not (isinstance(asked, int) and asked < len(names)):
        shown = ", ".join(map(repr, names))
        raise DataError(f"{location}: there is no sheet {asked!r}: set 'sheet_name' to one of {shown}")
    sheet = book.get_sheet_by_name(asked if isinstance(asked, str) else names[asked])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in sheet.to_python(skip_empty_area=False):
        cells = [_text(cell, options.decimal) for cell in row]
        writer.writerow(cells) if any(cells) else text.write("\n")
    yield TextStream(io.BytesIO(text.getvalue().encode()), location, "utf-8")


def _book(location: str, content: bytes) -> CalamineWorkbook:
    try:
        import python_calamine
    except ModuleNotFoundError as exc:
        remedy = "run: pip install 'gridline[excel]', or write the sheet as csv"
        raise DataError(f"{location}: Excel files need python-calamine, which is not installed: {remedy}") from exc
    try:
        return python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
    except (python_calamine.CalamineError, OSError) as exc:
        reason = " ".join(str(exc).split()).rstrip(".")
        raise DataError(f"{location}: the file is not of Excel, or is damaged: {reason}. Write it again") from exc


def _text(cell: Any, decimal: str) -> str:
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell).replace(".", decimal)
    if isinstance(cell, dt.datetime):
        return cell.isoformat().removesuffix("T00:00:00")
    return " ".join(str(cell).splitlines())
