"""Read the row groups of parquet files by column, whole or in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from jobs.errors import DataError
from jobs.sources.cells import shown
from jobs.sources.columns import Array, Columns, Fragment, Wanted
from jobs.sources.conversions import is_text, to_columns
from jobs.sources.filesystems import S3_PREFIX, open_filesystem, read_again, reading
from jobs.sources.names import check_names
from jobs.sources.read_options import DEFAULTS, ReadOptions
from model_store.objects.s3_settings import S3Settings

BUFFER_BYTES = 1 << 20
NUMBERS = (types.is_integer, types.is_boolean, types.is_null, types.is_floating, types.is_decimal)
# Over a network, the columns of a row group are fetched at once, in few requests, if they are no larger than this.
AT_ONCE_BYTES = 1 << 28


@dataclass(frozen=True)
class Parquet:
    """Parquet files: a fragment is a row group, and only the wanted columns are read."""

    options: ReadOptions = DEFAULTS

    rereads_for_cell = False

    @read_again
    def fragments(self, location: str, size_bytes: int, s3: S3Settings) -> list[Fragment]:
        found, first_row = [], 0
        with _opened(location, s3) as file:
            for at in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(at)
                found.append(Fragment(location, group.total_byte_size, self, at, first_row, group.num_rows))
                first_row += group.num_rows
        return found

    @read_again
    def column_names(self, location: str, s3: S3Settings) -> tuple[str, ...]:
        with _opened(location, s3) as file:
            return tuple(file.schema_arrow.names)

    @read_again
    def schema(self, location: str, s3: S3Settings) -> pa.Schema:
        """Return the names and types of the file's columns."""
        with _opened(location, s3) as file:
            return file.schema_arrow

    def read(
        self, fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None
    ) -> Iterator[Columns]:
        location = fragments[0].location
        with _opened(location, s3, max(fragment.size_bytes for fragment in fragments)) as file:
            schema = file.schema_arrow
            check_names(location, schema.names, wanted)
            for column in wanted:
                if column.kind != "raw":
                    check_type(location, column, schema.field(column.name).type)
            for fragment in fragments:
                first_row = fragment.first_row
                for batch in _batches(file, fragment, [column.name for column in wanted], batch_rows):
                    yield self._columns(fragment, first_row, batch, wanted)
                    first_row += batch.num_rows

    def _columns(self, fragment: Fragment, first_row: int, batch: Any, wanted: Sequence[Wanted]) -> Columns:
        """Return the rows of a batch. Raises DataError for a text that is no date, and for a category inf."""
        try:
            return to_columns(fragment, first_row, batch, wanted, numbers_of, self.options)
        except ValueError as exc:
            rows = f"rows {first_row + 1} to {first_row + batch.num_rows}"
            raise DataError(f"{fragment.location}: {rows}: {exc}: correct it") from exc

    def cell(self, columns: Columns, row: int, name: str, s3: S3Settings) -> tuple[str, str]:
        place = f"{columns.fragment.location}: row {columns.file_row(row) + 1}"
        if name in columns.raws:
            return place, shown(columns.raws[name][row].as_py())
        value = columns.texts[name].cells()[row] if name in columns.texts else columns.numbers[name][row].item()
        return place, shown(value)


def _batches(file: Any, fragment: Fragment, names: Sequence[str], batch_rows: int | None) -> Iterator[Any]:
    if batch_rows is None:
        return iter([file.read_row_group(fragment.row_group, columns=names)])
    batches: Iterator[Any] = file.iter_batches(batch_rows, row_groups=[fragment.row_group], columns=names)
    return batches


@contextmanager
def _opened(location: str, s3: S3Settings, largest_bytes: int = 0) -> Iterator[Any]:
    filesystem, path = open_filesystem(location, s3)
    at_once = location.startswith(S3_PREFIX) and largest_bytes <= AT_ONCE_BYTES
    with reading(location, s3), filesystem.open_input_file(path) as stream:
        try:
            yield pq.ParquetFile(stream, buffer_size=0 if at_once else BUFFER_BYTES, pre_buffer=at_once)
        except pa.ArrowException as exc:
            reason = " ".join(str(exc).split()).rstrip(".")
            raise DataError(f"{location}: the file is not parquet, or is damaged: {reason}. Write it again") from exc


def check_type(location: str, column: Wanted, found: Any) -> None:
    """Raise DataError for a column of a type that can't be read as what is wanted."""
    value_type = found.value_type if types.is_dictionary(found) else found
    days, text = types.is_date(value_type) or types.is_timestamp(value_type), is_text(value_type)
    number = any(is_of(value_type) for is_of in NUMBERS)
    if column.kind == "number":
        known, what = number, "numbers"
        remedy = "set 'kind: datetime'" if days else "store it as numbers"
        remedy += ", or 'kind: categorical'" if days or text else ""
    elif column.kind == "datetime":
        known, what, remedy = days or text or types.is_null(value_type), "dates", "store it as dates or times"
    else:
        known, what, remedy = number or days or text, "text", "store it as text"
    if not known:
        raise DataError(f"{location}: column {column.name!r} is of type {found}, which is not {what}: {remedy}")


def numbers_of(column: Any) -> Array:
    """Return an arrow column of numbers in the dtype that it has; floats, with NaN, if some are null."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if types.is_decimal(column.type) or types.is_null(column.type):
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False))
