"""Write rows with their predictions to a file or to standard output, batch by batch: csv, tsv or parquet.

Text is written as it is; a cell is quoted only where it holds the delimiter, a quote or a line end.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.errors import SourceError, UsageError
from jobs.prediction.input import Input
from jobs.sources.delimited import Delimited
from jobs.sources.parquet import Parquet
from model_store.objects.s3_settings import S3Settings

STANDARD = "-"
OutputFormat = Literal["csv", "tsv", "parquet"]
FORMATS: dict[str, OutputFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True)
class Target:
    """Where rows are written, and how; `delimiter` and `decimal` are those of text."""

    location: str
    format: OutputFormat
    delimiter: str = ","
    decimal: str = "."

    @property
    def codec(self) -> str | None:
        """The compression that the name tells."""
        return None if self.location == STANDARD else CODECS.get(PurePath(self.location).suffix.lower())


def target_of(location: str, name: str | None, rows: Input) -> Target:
    """Return where and how the rows are written: in the format `name`, else that of the name, and of `-` the input's.

    Text is written as the input has it: with its delimiter (a csv file never with tabs), and its decimals.
    Raises UsageError if nothing tells the format, or the output is the input.
    """
    if location != STANDARD and Path(location).resolve() in {Path(each.location).resolve() for each in rows.fragments}:
        raise UsageError(f"--output {location} is the input: write another file")
    if name is not None and name not in FORMATS.values():
        raise UsageError(f"--output-format {name} is not known: write csv, tsv or parquet")
    of_input = "parquet" if isinstance(rows.of_file, Parquet) else "csv"
    found = cast(OutputFormat, name or (of_input if location == STANDARD else _format_of(location)))
    if not isinstance(rows.of_file, Delimited):
        return Target(location, found, "\t" if found == "tsv" else ",")
    delimiter = rows.of_file.delimiter_of(rows.path, S3Settings())
    text = "\t" if found == "tsv" else "," if delimiter == "\t" else delimiter
    return Target(location, found, text, rows.reading.options.decimal)


def _format_of(location: str) -> OutputFormat:
    """Return the format that a name tells. Raises UsageError for other names."""
    path = PurePath(location.lower())
    ending = PurePath(path.stem).suffix if path.suffix in CODECS else path.suffix
    if ending not in FORMATS or (path.suffix in CODECS and FORMATS[ending] == "parquet"):
        endings = " ".join(FORMATS)
        raise UsageError(f"--output {location}: the name does not tell the format: end it in one of {endings}")
    return FORMATS[ending]


class TextWriter:
    """Writes tables as delimited text with a header."""

    def __init__(self, stream: Any, schema: pa.Schema, target: Target) -> None:
        _refuse_nested(schema, target)
        self._stream = stream
        self._target = target
        self._special = f'["\r\n{re.escape(target.delimiter)}]'
        self._header = pa.table([pa.array([name], pa.large_string()) for name in schema.names], names=schema.names)
        self._began = False

    def write(self, table: pa.Table) -> None:
        """Write the rows of a table, the first time after the header: refused first rows leave nothing behind."""
        if not self._began:
            self._began = True
            self.write(self._header)
        if not table.num_rows:
            return
        columns = [self._cells(column) for column in table.columns]
        if len(columns) == 1:  # a blank line would be no row
            columns = [pc.if_else(pc.equal(columns[0], ""), '""', columns[0])]
        lines = pc.binary_join_element_wise(*columns, pa.scalar(self._target.delimiter, pa.large_string()))
        self._stream.write("\n".join([*lines.to_pylist(), ""]).encode())

    def close(self) -> None:
        """Write the header, if there was no row."""
        self.write(self._header.slice(1))

    def _cells(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column as the text of its cells, in quotes where they are needed; a null is an empty cell."""
        plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        text = pc.fill_null(plain.cast(pa.large_string()), "")
        if self._target.decimal != "." and pa.types.is_floating(plain.type):
            text = pc.replace_substring(text, ".", self._target.decimal)
        special = pc.match_substring_regex(text, self._special)
        if not pc.any(special).as_py():
            return text
        doubled = pc.replace_substring(text, '"', '""')
        quote, nothing = (pa.scalar(each, pa.large_string()) for each in ('"', ""))
        return pc.if_else(special, pc.binary_join_element_wise(quote, doubled, quote, nothing), text)


class ParquetWriter:
    """Writes tables as the row groups of a parquet file."""

    def __init__(self, stream: Any, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(stream, schema)

    def write(self, table: pa.Table) -> None:
        """Write the rows of a table as a row group."""
        if table.num_rows:
            self._writer.write_table(table)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


Writer = TextWriter | ParquetWriter


@contextmanager
def writing(target: Target, schema: pa.Schema) -> Iterator[Writer]:
    """Yield a writer. The file appears when all is written: until then it has another name; an error removes it.

    Raises UsageError if text can't hold a column, and SourceError if the output can't be written.
    """
    try:
        with _stream(target) as stream:
            writer = ParquetWriter(stream, schema) if target.format == "parquet" else TextWriter(stream, schema, target)
            yield writer
            writer.close()
    except OSError as exc:
        name = "standard output" if target.location == STANDARD else target.location
        raise SourceError(
            f"--output {name} can't be written: {exc.strerror or exc}. Check the path, and the disk"
        ) from exc


@contextmanager
def _stream(target: Target) -> Iterator[Any]:
    if target.location == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target.location)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file, _compressed(file, target.codec) as stream:
            yield stream
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _compressed(file: BinaryIO, codec: str | None) -> Iterator[Any]:
    if codec is None:
        yield file
        return
    with cast(Any, pa.CompressedOutputStream(file, codec)) as stream:
        yield stream


def _refuse_nested(schema: pa.Schema, target: Target) -> None:
    for field in schema:
        try:
            pa.array([], field.type).cast(pa.large_string())
        except pa.ArrowNotImplementedError as exc:
            raise UsageError(
                f"--output {target.location}: column {field.name!r} is of type {field.type}, which text can't hold: "
                "write a .parquet file"
            ) from exc


def appended(table: pa.Table, columns: Sequence[tuple[str, pa.Array]]) -> pa.Table:
    """Return the table with these columns after its own."""
    for name, values in columns:
        table = table.append_column(name, values)
    return table
