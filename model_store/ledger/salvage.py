"""What is whole of a version whose objects are lost or damaged; the rest comes from older versions.

A row or a champion is taken from the newest older version that has it whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_store.errors import CorruptObjectError, MissingObjectError, NewerFormatError
from model_store.ledger.versions import Shard, Version

if TYPE_CHECKING:
    import pyarrow as pa

NAMED = 3  # datasets that a sentence names


@dataclass(frozen=True)
class Salvage:
    """A champion table, and in sentences what of it comes from older versions, or is lost."""

    table: pa.Table
    mended: tuple[str, ...] = ()

    def blob_keys(self) -> set[str]:
        """Return the keys of the blobs that the champions name."""
        from model_store.ledger.champion_table import table_blobs

        return {ref.key for ref in table_blobs(self.table)}


def salvaged(version: Version, older: Sequence[Version], bad: Set[str]) -> Salvage:
    """Return the champions of a version; `older` are versions to take others from, `bad` the keys of broken blobs."""
    rows = _rows(version, older)
    champions = _champions(rows.table, older, bad)
    return Salvage(champions.table, (*rows.mended, *champions.mended))


def _rows(version: Version, older: Sequence[Version]) -> Salvage:
    import pyarrow as pa

    if not version.shards:
        return Salvage(version.table())
    tables, mended = [], []
    ends = [*(shard.first for shard in version.shards[1:]), None]
    for shard, end in zip(version.shards, ends, strict=True):
        rows = _shard_rows(version, [shard])
        if rows is None:
            rows, words = _rows_between(older, shard.first, end)
            mended.append(f"the shard with the {shard.num_rows} champions from '{shard.first}' on is lost: {words}")
        tables.append(rows)
    return Salvage(pa.concat_tables(tables), tuple(mended))


def _rows_between(older: Iterable[Version], first: str, end: str | None) -> tuple[pa.Table, str]:
    """Return the rows from dataset `first` up to `end` of the newest version that has them whole, and its words."""
    import pyarrow.compute as pc

    from model_store.ledger.champion_table import CHAMPION_SCHEMA

    for version in older:
        firsts = [shard.first for shard in version.shards]
        start = max(bisect_right(firsts, first) - 1, 0)
        inside = [shard for shard in version.shards[start:] if end is None or shard.first < end]
        table = _shard_rows(version, inside) if version.shards else version.table()
        if table is not None:
            wanted = pc.greater_equal(table["dataset"], first)
            rows = table.filter(wanted if end is None else pc.and_(wanted, pc.less(table["dataset"], end)))
            return rows, f"the {len(rows)} of version {version.number} are restored"
    return CHAMPION_SCHEMA.empty_table(), "no older version has them whole, so train them again"


def _shard_rows(version: Version, shards: Sequence[Shard]) -> pa.Table | None:
    """Return the rows of some shards, or None if one is lost or damaged."""
    import pyarrow as pa

    from model_store.ledger.champion_table import CHAMPION_SCHEMA

    try:
        return pa.concat_tables([CHAMPION_SCHEMA.empty_table(), *map(version.read_shard, shards)])
    except NewerFormatError:
        raise
    except (MissingObjectError, CorruptObjectError):
        return None


def _champions(table: pa.Table, older: Iterable[Version], bad: Set[str]) -> Salvage:
    """Return a champion table, in which champions with broken blobs are replaced by older ones that are whole."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mended = []
    for version in older:
        names = table.filter(_broken(table, bad))["dataset"].to_pylist()
        if not names:
            break
        rows = _rows_of(version, names)
        whole = rows.filter(pc.invert(_broken(rows, bad)))
        if len(whole):
            found = whole["dataset"].combine_chunks()
            table = pa.concat_tables([table.filter(pc.invert(pc.is_in(table["dataset"], value_set=found))), whole])
            mended.append(
                f"the blobs of {_of(found.to_pylist())} are lost or damaged: the champions of version "
                f"{version.number} are restored"
            )
    return Salvage(table, tuple(mended))


def _rows_of(version: Version, names: Sequence[str]) -> pa.Table:
    from model_store.ledger.champion_table import CHAMPION_SCHEMA

    try:
        return version.rows_of(names)
    except (MissingObjectError, CorruptObjectError):
        return CHAMPION_SCHEMA.empty_table()


def _broken(table: pa.Table, bad: Set[str]) -> pa.ChunkedArray:
    """Return which rows name a broken blob."""
    import pyarrow as pa
    import pyarrow.compute as pc

    digests = pa.array([key.rpartition("/")[2].partition(".")[0] for key in bad], pa.string())
    columns = [pc.is_in(table[name], value_set=digests) for name in ("checkpoint", "statistics")]
    return pc.or_(*columns)


def _of(datasets: Sequence[str]) -> str:
    more = f" and {len(datasets) - NAMED} more" if len(datasets) > NAMED else ""
    return f"{', '.join(map(repr, datasets[:NAMED]))}{more}"
