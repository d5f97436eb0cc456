"""Make the next version from a draft: its champion table is stored inline or as shards."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from model_store.ledger.versions import SHARD_EXT, Draft, Shard, Version
from model_store.objects.blobs import BlobRef, ref_of
from model_store.objects.protocol import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa

PutBlob = Callable[[bytes, str], BlobRef]


def version_of(
    objects: ObjectStore,
    put: PutBlob,
    collection: str,
    parent: Version | None,
    draft: Draft,
    created_at: str,
) -> Version:
    """Return the version after `parent`; the shards of a large table are stored with `put`.

    A shard of the parent is not written again. The number is above those of lost versions too. Raises StoreError if the
    table is not a champion table.
    """
    from model_store.ledger.champion_table import INLINE_ROWS, conform

    table = conform(draft.table)
    is_inline = len(table) <= INLINE_ROWS
    lost = tuple(sorted({*(parent.lost if parent else ()), *draft.lost}))
    return Version(
        collection=collection,
        number=max(parent.number if parent else 0, *lost, 0) + 1,
        commit_id=uuid.uuid4().hex,
        parent=parent.commit_id if parent else None,
        created_at=created_at,
        run_id=draft.run_id,
        action=draft.action,
        note=draft.note,
        num_datasets=len(table),
        rows=tuple(table.to_pylist()) if is_inline else (),
        shards=() if is_inline else _put_shards(put, table, parent),
        objects=objects,
        withdrawals=(parent.withdrawals if parent else ()) if draft.withdrawals is None else draft.withdrawals,
        lost=lost,
        cache={} if is_inline else {"table": table},
    )


def _put_shards(put: PutBlob, table: pa.Table, parent: Version | None) -> tuple[Shard, ...]:
    from model_store.ledger.champion_table import cut, shard_bytes

    old = parent.shards if parent else ()
    stored = {shard.blob for shard in old}
    unchanged = _slices(parent) if parent else {}
    names = table["dataset"].to_pylist()
    starts = cut(names, [shard.first for shard in old])
    shards = []
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        rows = table.slice(start, stop - start)
        shard, old_rows = unchanged.get(names[start], (None, None))
        if shard is None or not rows.equals(old_rows):
            data = shard_bytes(rows)
            shard = Shard(names[start], stop - start, ref_of(data, SHARD_EXT))
            if shard.blob not in stored:
                put(data, SHARD_EXT)
        shards.append(shard)
    return tuple(shards)


def _slices(parent: Version) -> dict[str, tuple[Shard, pa.Table]]:
    """Return the shards of a version with their rows, by first dataset; empty if its table has not been read."""
    table = parent.cache.get("table")
    if table is None:
        return {}
    starts = accumulate((shard.num_rows for shard in parent.shards), initial=0)
    return {
        shard.first: (shard, table.slice(start, shard.num_rows))
        for shard, start in zip(parent.shards, starts, strict=False)
    }
