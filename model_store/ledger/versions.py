"""A version: one immutable commit of a collection, and its JSON.

    {"format": 1, "sha256": "<of the canonical JSON of the version>", "version": {…}}

Format rule: a reader accepts every format up to its own and refuses newer ones. It ignores unknown keys, so the format
number changes only if an old reader would misread the version.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from model_store.errors import CorruptObjectError, NewerFormatError, UnknownDatasetError
from model_store.ledger.champion_columns import COLUMNS, row_blobs, row_problem
from model_store.names import numbered, version_prefix
from model_store.objects.blobs import BlobRef, read_blob, read_blobs
from model_store.objects.protocol import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
SHARD_EXT = "parquet"
Action = Literal["train", "rollback"]

# The fields of a version that its JSON has under the same names, with their types.
FIELDS: dict[str, type[str] | type[int]] = {
    "collection": str,
    "number": int,
    "commit_id": str,
    "parent": str,  # or null
    "created_at": str,
    "run_id": str,
    "action": str,
    "note": str,
    "num_datasets": int,
}


@dataclass(frozen=True)
class Draft:
    """A proposal for a commit: a champion table (see CHAMPION_SCHEMA) and its origin."""

    table: pa.Table
    run_id: str = ""
    action: Action = "train"
    note: str = ""


@dataclass(frozen=True)
class Shard:
    """A parquet blob with the rows of the champion table from dataset `first` on."""

    first: str
    num_rows: int
    blob: BlobRef


@dataclass(frozen=True)
class Version:
    """One commit. `parent` is the commit id of the version before it; `created_at` is ISO 8601 in UTC.

    Its champion table is in `rows`, or in the blobs of `shards`, which the methods read from the store.
    """

    collection: str
    number: int
    commit_id: str
    parent: str | None
    created_at: str
    run_id: str
    action: Action
    note: str
    num_datasets: int
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    shards: tuple[Shard, ...] = field(repr=False)
    objects: ObjectStore = field(repr=False, compare=False)
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def key(self) -> str:
        """The key of the commit in the store."""
        return numbered(version_prefix(self.collection), self.number)

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Return the champion table, sorted by dataset: all columns, or the named ones."""
        import pyarrow as pa

        from model_store.ledger.champion_table import read_shard, rows_to_table

        table = self.cache.get("table") if self.shards else rows_to_table(self.rows)
        if table is not None:
            return table if columns is None else table.select(columns)
        blobs = read_blobs(self.objects, [shard.blob for shard in self.shards])
        tables = [read_shard(shard.blob.key, data, columns) for shard, data in zip(self.shards, blobs, strict=True)]
        table = pa.concat_tables(tables)
        if columns is None:
            self.cache["table"] = table
        return table

    def tables(self) -> Iterator[pa.Table]:
        """Yield the champion table shard by shard, sorted by dataset, so that only one shard is in memory."""
        if not self.shards or "table" in self.cache:
            yield self.table()
            return
        yield from map(self._read_shard, self.shards)

    def _read_shard(self, shard: Shard) -> pa.Table:
        from model_store.ledger.champion_table import read_shard

        return read_shard(shard.blob.key, read_blob(self.objects, shard.blob))

    def find(self, dataset: str) -> Mapping[str, Any]:
        """Return the row of one dataset; reads at most one shard. Raises UnknownDatasetError."""
        rows = self.rows
        if self.shards:
            import pyarrow.compute as pc

            at = bisect_right(self.shards, dataset, key=lambda shard: shard.first) - 1
            table = self._read_shard(self.shards[max(at, 0)])
            rows = tuple(table.filter(pc.equal(table["dataset"], dataset)).to_pylist())
        at = bisect_left(rows, dataset, key=lambda row: str(row["dataset"]))
        if at == len(rows) or rows[at]["dataset"] != dataset:
            raise UnknownDatasetError(
                f"dataset {dataset!r} is not in version {self.number} of collection '{self.collection}', which has "
                f"{self.num_datasets}: see 'gridline models list {self.collection}'"
            )
        return rows[at]

    def blobs(self) -> set[BlobRef]:
        """Return every blob that the version names, including its shards."""
        if not self.shards:
            return {blob for row in self.rows for blob in row_blobs(row)}
        from model_store.ledger.champion_table import BLOB_COLUMNS, table_blobs

        return {shard.blob for shard in self.shards} | table_blobs(self.table(BLOB_COLUMNS))


def version_json(version: Version) -> bytes:
    """Return the bytes of a commit."""
    body = {
        **{name: getattr(version, name) for name in FIELDS},
        "rows": [{name: value for name, value in row.items() if value is not None} for row in version.rows],
        "parts": [
            {
                "first": shard.first,
                "num_rows": shard.num_rows,
                "sha256": shard.blob.sha256,
                "size": shard.blob.size_bytes,
            }
            for shard in version.shards
        ],
    }
    return json.dumps({"format": FORMAT, "sha256": _digest(body), "version": body}, ensure_ascii=False).encode()


def parse_version(objects: ObjectStore, collection: str, number: int, data: bytes) -> Version:
    """Return the version that `version_json` wrote for this collection and number.

    Raises NewerFormatError, and CorruptObjectError with the name of the object if it is not that commit.
    """
    name = f"{objects.uri}/{numbered(version_prefix(collection), number)}"
    try:
        document = json.loads(data)
        if document["format"] > FORMAT:
            raise NewerFormatError(name, document["format"], FORMAT)
        body = document["version"]
        if _digest(body) != document["sha256"]:
            raise CorruptObjectError(name, "its checksum does not fit its content")
        version = _from_body(objects, body)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as exc:
        raise CorruptObjectError(
            name, f"it is not a commit: {type(exc).__name__} {' '.join(str(exc).split())}"
        ) from exc
    if (version.collection, version.number) != (collection, number):
        raise CorruptObjectError(name, f"it holds version {version.number} of collection '{version.collection}'")
    return version


def _from_body(objects: ObjectStore, body: Mapping[str, Any]) -> Version:
    for row in body["rows"]:
        if problem := row_problem(row):
            raise ValueError(f"in a row, {problem}")
    rows = tuple({column.name: row.get(column.name) for column in COLUMNS} for row in body["rows"])
    for name, kind in FIELDS.items():
        if name != "parent" or body["parent"] is not None:
            _require(body, name, kind)
    if body["action"] not in get_args(Action):
        raise ValueError(f"action {body['action']!r}")
    shards = tuple(_shard(fields) for fields in body["parts"])
    if (len(rows) or sum(shard.num_rows for shard in shards)) != body["num_datasets"]:
        raise ValueError("the number of its rows is not that of its datasets")
    names = [row["dataset"] for row in rows] or [shard.first for shard in shards]
    if any(name >= following for name, following in pairwise(names)):
        raise ValueError("its datasets are not sorted by name, each once")
    return Version(**{name: body[name] for name in FIELDS}, rows=rows, shards=shards, objects=objects)


def _shard(fields: Mapping[str, Any]) -> Shard:
    for name, kind in (("first", str), ("num_rows", int), ("size", int)):
        _require(fields, name, kind)
    return Shard(fields["first"], fields["num_rows"], BlobRef(fields["sha256"], fields["size"], SHARD_EXT))


def _require(fields: Mapping[str, Any], name: str, kind: type[str] | type[int]) -> None:
    """Raise TypeError unless a field is a text, or a count."""
    value = fields[name]
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        raise TypeError(f"'{name}' is {value!r}, not a {'text' if kind is str else 'count'}")


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
