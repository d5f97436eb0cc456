"""A version: one immutable commit of a collection, with its champion table."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from model_store.errors import EmptyVersionError, UnknownDatasetError
from model_store.ledger.champion_columns import row_blobs
from model_store.ledger.withdrawals import Withdrawal
from model_store.names import numbered, version_prefix
from model_store.objects.blobs import BlobRef, read_blob, read_blobs
from model_store.objects.protocol import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_EXT = "parquet"
Action = Literal["train", "rollback", "release", "repair"]


@dataclass(frozen=True)
class Draft:
    """A proposal for a commit: a champion table (see CHAMPION_SCHEMA) and its origin.

    `withdrawals` are those of the new version; None: those of the version before it. `lost` are versions that can't be
    read, in addition to those that are known; the number of the new version is higher than theirs.
    """

    table: pa.Table
    run_id: str = ""
    action: Action = "train"
    note: str = ""
    withdrawals: tuple[Withdrawal, ...] | None = None
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shard:
    """A parquet blob with the rows of the champion table from dataset `first` on."""

    first: str
    num_rows: int
    blob: BlobRef


@dataclass(frozen=True)
class Version:
    """One commit. `parent` is the commit id of the version before it; `created_at` is ISO 8601 in UTC.

    Its champion table is in `rows`, or in the blobs of `shards`, which the methods read from the store. `withdrawals`
    are the models that rollbacks have withdrawn; `lost` are older versions whose commits can't be read any more.
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
    withdrawals: tuple[Withdrawal, ...] = ()
    lost: tuple[int, ...] = ()
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def key(self) -> str:
        """The key of the commit in the store."""
        return numbered(version_prefix(self.collection), self.number)

    def require_models(self) -> None:
        """Raise EmptyVersionError if it has no models."""
        if not self.num_datasets:
            raise EmptyVersionError(
                f"version {self.number} of collection '{self.collection}' has no models, because a repair found none "
                "that was whole: run the job again"
            )

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
        yield from map(self.read_shard, self.shards)

    def read_shard(self, shard: Shard) -> pa.Table:
        """Return the rows of one of its shards."""
        from model_store.ledger.champion_table import read_shard

        return read_shard(shard.blob.key, read_blob(self.objects, shard.blob))

    def rows_of(self, datasets: Sequence[str]) -> pa.Table:
        """Return the rows of those datasets that the version has; reads only the shards that may have them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self.table() if not self.shards or "table" in self.cache else None
        if table is None:
            firsts = [shard.first for shard in self.shards]
            wanted = {max(bisect_right(firsts, dataset) - 1, 0) for dataset in datasets} or {0}
            table = pa.concat_tables([self.read_shard(self.shards[at]) for at in sorted(wanted)])
        return table.filter(pc.is_in(table["dataset"], value_set=pa.array(datasets, pa.string())))

    def find(self, dataset: str) -> Mapping[str, Any]:
        """Return the row of one dataset; reads at most one shard. Raises UnknownDatasetError."""
        rows = self.rows
        if self.shards:
            import pyarrow.compute as pc

            at = bisect_right(self.shards, dataset, key=lambda shard: shard.first) - 1
            table = self.read_shard(self.shards[max(at, 0)])
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
