"""Read csv and tsv with pyarrow's reader for speed; `cells` finds the line and the value of an error.

Cells are UTF-8; a byte order mark, CRLF, quoted cells and blank lines are understood. Nothing is coerced: a cell of a
numeric column is a number, `true` or `false`, or missing (see `cells`), or it is an error.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from handler.cells import MISSING
from jobs.errors import DataError
from jobs.sources.cells import cell_at, first_bad_cell, shown, unclosed_quote
from jobs.sources.columns import Array, Columns, Fragment, Wanted, check_names
from jobs.sources.conversions import numbers_of_text, to_columns
from jobs.sources.filesystems import open_filesystem, reading
from jobs.sources.read_options import DEFAULTS
from model_store.objects.s3_settings import S3Settings

HEADER_BYTES = 1 << 16
BLOCK_BYTES = 1 << 22
OTHER_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
SIGNATURES = {b"PAR1": "parquet", b"PK\x03\x04": "a zip or Excel file", b"\x1f\x8b": "gzip", b"ARROW1": "arrow"}


class TextStream:
    """The bytes of a file, checked as they are read: UTF-8, no NUL, and an even number of quotes by the end."""

    def __init__(self, stream: Any, location: str) -> None:
        self.closed = False
        self.quotes_balance = True
        self._stream = stream
        self._location = location
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._offset = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def read(self, num_bytes: int | None = None) -> bytes:
        """Return the next bytes. Raises DataError with the offset of the first byte that is not text."""
        block: bytes = self._stream.read(num_bytes)
        if self._offset == 0:
            _refuse_signature(self._location, block)
        if b"\0" in block:
            offset = self._offset + block.index(b"\0")
            raise DataError(f"{self._location}: byte {offset} is NUL: the file is binary, not text: check 'format'")
        self._check_utf8(block)
        if block.count(b'"') % 2:
            self.quotes_balance = not self.quotes_balance
        self._offset += len(block)
        return block

    def _check_utf8(self, block: bytes) -> None:
        pending = len(self._decoder.getstate()[0])
        if not pending and block.isascii():
            return
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as exc:
            offset = self._offset - pending + exc.start
            raise DataError(
                f"{self._location}: byte {offset} (0x{exc.object[exc.start]:02x}) is not UTF-8: save the file as UTF-8"
            ) from exc


@dataclass(frozen=True)
class Delimited:
    """Csv and tsv files: a fragment is a whole file, because only reading shows where rows end."""

    delimiter: str

    rereads_for_cell = True

    def fragments(self, location: str, size_bytes: int, s3: S3Settings) -> list[Fragment]:
        return [Fragment(location, size_bytes, self)]

    def column_names(self, location: str, s3: S3Settings) -> tuple[str, ...]:
        filesystem, path = open_filesystem(location, s3)
        with reading(location, s3), filesystem.open_input_stream(path) as stream:
            header = _first_line(TextStream(stream, location))
        if not header:
            raise DataError(f"{location}: the file is empty: write a header and rows")
        names = next(csv.reader([header], delimiter=self.delimiter))
        for at, name in enumerate(names):
            if name in names[:at]:
                raise DataError(f"{location}:1: the header names column {name!r} twice: rename one")
        return tuple(names)

    def read(
        self, fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None
    ) -> Iterator[Columns]:
        [fragment] = fragments
        names = self.column_names(fragment.location, s3)
        _refuse_other_delimiter(fragment.location, names, wanted)
        check_names(f"{fragment.location}:1", names, wanted)
        row = 0
        try:
            for table in self._tables(fragment.location, wanted, s3, batch_rows, as_text=False):
                yield to_columns(fragment, row, table, wanted, _floats)
                row += table.num_rows
        except ValueError:
            # Truths and cells of blanks are not numbers to pyarrow: once more, with every cell as text.
            yield from self._read_text(fragment, wanted, s3, batch_rows, rows_done=row)

    def cell(self, columns: Columns, row: int, name: str, s3: S3Settings) -> tuple[str, str]:
        location = columns.fragment.location
        line, text = cell_at(location, self.delimiter, columns.first_row + row, name, s3)
        return f"{location}:{line}", shown(text)

    def _read_text(
        self, fragment: Fragment, wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None, rows_done: int
    ) -> Iterator[Columns]:
        """Yield the rows after the first `rows_done`; each cell is converted from text."""
        location, row = fragment.location, 0
        try:
            for table in self._tables(location, wanted, s3, batch_rows, as_text=True):
                rest = table.slice(max(rows_done - row, 0))
                if rest.num_rows:
                    yield to_columns(fragment, row + table.num_rows - rest.num_rows, rest, wanted, _floats)
                row += table.num_rows
        except ValueError as exc:
            reason = " ".join(str(exc).split()).rstrip(".")
            unknown = DataError(f"{location}: the file can't be read: {reason}. Correct it")
            raise first_bad_cell(location, self.delimiter, wanted, s3) or unknown from exc

    def _tables(
        self, location: str, wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None, *, as_text: bool
    ) -> Iterator[Any]:
        """Yield the columns as pyarrow tables. Raises ArrowInvalid for a wrong cell or row."""
        number = pa.string() if as_text else pa.float64()
        options = {
            "parse_options": arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            "convert_options": arrow_csv.ConvertOptions(
                include_columns=[column.name for column in wanted],
                column_types={column.name: number if column.kind == "number" else pa.string() for column in wanted},
                null_values=list(MISSING),
                strings_can_be_null=False,
            ),
            "read_options": arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
        }
        filesystem, path = open_filesystem(location, s3)
        with reading(location, s3), filesystem.open_input_stream(path) as stream:
            text = TextStream(stream, location)
            if batch_rows is None:
                yield arrow_csv.read_csv(text, **options)
            else:
                yield from arrow_csv.open_csv(text, **options)
            if not text.quotes_balance:
                raise unclosed_quote(location, self.delimiter, s3)


def _refuse_other_delimiter(location: str, names: Sequence[str], wanted: Sequence[Wanted]) -> None:
    for other, called in OTHER_DELIMITERS.items():
        if len(names) == 1 and other in names[0] and names[0] not in [column.name for column in wanted]:
            raise DataError(
                f"{location}:1: the header is one column with {called} in it: "
                f"{names[0]!r}: set 'delimiter: {json.dumps(other)}'"
            )


def _floats(column: Any) -> Array:
    if pa.types.is_string(column.type):
        return numbers_of_text(column, MISSING, DEFAULTS)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _refuse_signature(location: str, block: bytes) -> None:
    for signature, what in SIGNATURES.items():
        if block.startswith(signature):
            raise DataError(f"{location}: the file is {what}, not text: set 'format', or write it as csv")


def _first_line(stream: TextStream) -> str:
    """Return the header, which is the first line that is not blank; a quoted name may hold a line end."""
    head = b""
    while block := stream.read(HEADER_BYTES):
        head += block
        lines = head.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = -1
        while (end := lines.find(b"\n", end + 1)) >= 0:
            if lines.count(b'"', 0, end) % 2 == 0:
                return lines[:end].decode()
    return head.removeprefix(codecs.BOM_UTF8).strip(b"\r\n").decode()
