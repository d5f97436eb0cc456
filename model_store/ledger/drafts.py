"""From a draft to a version: where its champion table goes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from model_store.ledger.versions import PART_EXT, Draft, Part, Version
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
    """Return the version that comes after `parent`, with the parts of a large table stored through `put`.

    A part that the parent has already is not written again. Raises StoreError if the table is not a champion table.
    """
    from model_store.ledger.champion_table import INLINE_ROWS, conform, table_to_rows

    table = conform(draft.table)
    is_inline = len(table) <= INLINE_ROWS
    return Version(
        collection=collection,
        number=parent.number + 1 if parent else 1,
        commit_id=uuid.uuid4().hex,
        parent=parent.commit_id if parent else None,
        created_at=created_at,
        run_id=draft.run_id,
        action=draft.action,
        note=draft.note,
        num_datasets=len(table),
        rows=tuple(table_to_rows(table)) if is_inline else (),
        parts=() if is_inline else _put_parts(put, table, parent),
        objects=objects,
        cache={} if is_inline else {"table": table},
    )


def _put_parts(put: PutBlob, table: pa.Table, parent: Version | None) -> tuple[Part, ...]:
    from model_store.ledger.champion_table import cut, part_bytes

    old = parent.parts if parent else ()
    stored = {part.blob for part in old}
    unchanged = _slices(parent) if parent else {}
    names = table["dataset"].to_pylist()
    starts = cut(names, [part.first for part in old])
    parts = []
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        rows = table.slice(start, stop - start)
        part, old_rows = unchanged.get(names[start], (None, None))
        if part is None or not rows.equals(old_rows):
            data = part_bytes(rows)
            part = Part(names[start], stop - start, ref_of(data, PART_EXT))
            if part.blob not in stored:
                put(data, PART_EXT)
        parts.append(part)
    return tuple(parts)


def _slices(parent: Version) -> dict[str, tuple[Part, pa.Table]]:
    """Return the parts of a version with their rows, by first dataset; none if its table has not been read."""
    table = parent.cache.get("table")
    if table is None:
        return {}
    starts = accumulate((part.num_rows for part in parent.parts), initial=0)
    return {
        part.first: (part, table.slice(start, part.num_rows)) for part, start in zip(parent.parts, starts, strict=False)
    }
