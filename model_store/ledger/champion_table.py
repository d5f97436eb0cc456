"""The champion table: one row a dataset, sorted by name, in the same columns in every version.

Up to `INLINE_ROWS` rows are in the version itself. A larger table is cut into shards of at most `SHARD_ROWS` rows,
each a parquet blob. A lookup of one dataset reads one shard, and a commit that changes one dataset writes one shard.
"""

from __future__ import annotations

import io
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_store.errors import CorruptObjectError, StoreError
from model_store.ledger.champion_columns import CHECKPOINT_EXT, COLUMNS
from model_store.objects.blobs import BlobRef

INLINE_ROWS = 256
SHARD_ROWS = 16_384
BLOB_COLUMNS = ["checkpoint", "checkpoint_size", "statistics", "statistics_size"]

ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64()}
CHAMPION_SCHEMA = pa.schema(
    [pa.field(column.name, ARROW_TYPES[column.kind], nullable=not column.required) for column in COLUMNS]
)


def conform(table: pa.Table) -> pa.Table:
    """Return the table in CHAMPION_SCHEMA, sorted by dataset, as a version stores it.

    Absent nullable columns and numbers that are not finite become null. Unknown columns are dropped, so that a table of
    a newer minor version can be read. Raises StoreError for a missing column or value, a column of another type, and
    a repeated dataset.
    """
    columns = [_column(table, field) for field in CHAMPION_SCHEMA]
    ordered = pa.Table.from_arrays(columns, schema=CHAMPION_SCHEMA)
    names = ordered["dataset"].combine_chunks()
    if len(names) > 1 and not pc.all(pc.less(names[:-1], names[1:])).as_py():
        ordered = ordered.sort_by("dataset")
        names = ordered["dataset"].combine_chunks()
        twice = names[1:].filter(pc.equal(names[:-1], names[1:]))
        if len(twice):
            raise StoreError(f"dataset '{twice[0].as_py()}' is twice in the champion table: keep one row")
    return ordered.combine_chunks()


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        if not field.nullable:
            raise StoreError(f"the champion table has no column '{field.name}'; it has {table.column_names}")
        return pa.chunked_array([pa.nulls(len(table), field.type)])
    try:
        column = table[field.name].cast(field.type)
    except pa.ArrowInvalid as exc:
        raise StoreError(f"column '{field.name}' of the champion table is not {field.type}: {exc}") from exc
    if column.null_count and not field.nullable:
        raise StoreError(f"column '{field.name}' of the champion table has an empty cell; every row needs a value")
    if pa.types.is_floating(field.type):
        return pc.if_else(pc.is_finite(column), column, pa.scalar(None, field.type))
    return column


def rows_to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return the champion table of rows that are given as mappings; absent keys become null."""
    loose = pa.schema([field.with_nullable(True) for field in CHAMPION_SCHEMA])
    try:
        return conform(pa.Table.from_pylist(list(rows), schema=loose))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
        raise StoreError(f"a row of the champion table does not fit its columns: {exc}") from exc


def table_blobs(table: pa.Table) -> set[BlobRef]:
    """Return every blob that the rows of a table name; its four blob columns are enough."""
    refs: set[BlobRef] = set()
    for column in BLOB_COLUMNS[::2]:
        distinct = table.group_by([column, f"{column}_size"]).aggregate([]).to_pylist()
        refs |= {BlobRef(row[column], row[f"{column}_size"], CHECKPOINT_EXT) for row in distinct if row[column]}
    return refs


def shard_bytes(table: pa.Table) -> bytes:
    """Return a shard as parquet; equal rows give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, store_schema=False)
    return sink.getvalue()


def read_shard(name: str, data: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return a shard, or some of its columns. Raises CorruptObjectError with the name of the object."""
    try:
        table = pq.read_table(io.BytesIO(data), columns=columns)
        return table if columns is not None else conform(table)
    except (pa.ArrowException, OSError, StoreError) as exc:
        raise CorruptObjectError(name, f"it is not a shard of a champion table: {exc}") from exc


def cut(names: list[str], boundaries: list[str]) -> list[int]:
    """Return the first row of each shard of a sorted table: the parent's boundaries, and cuts of too large shards.

    With the parent's boundaries, unchanged shards have the same bytes, so they need not be written again.
    """
    starts = sorted({0, *(bisect_left(names, boundary) for boundary in boundaries)} - {len(names)})
    cuts: list[int] = []
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        if cuts and stop - cuts[-1] <= SHARD_ROWS // 2:
            continue  # merged into the shard before, which is small
        pieces = math.ceil((stop - start) / SHARD_ROWS)
        cuts += [start + (stop - start) * piece // pieces for piece in range(pieces)]
    return cuts
