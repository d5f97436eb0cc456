"""The oldest kept version of a collection, which gc records in the store before it removes blobs.

gc/kept/<collection>/00000000000000000005.json      versions 5 and newer are whole; older ones may have lost blobs
"""

from __future__ import annotations

from model_store.names import GC_KEPT, check_name, number_of, numbered
from model_store.objects.protocol import ObjectStore


def oldest_kept(objects: ObjectStore, collection: str) -> int:
    """Return the oldest version of a collection whose blobs gc has never been asked to remove."""
    numbers = [number_of(info.key) or 1 for info in objects.list(_prefix(collection))]
    return max(numbers, default=1)


def keep_from(objects: ObjectStore, collection: str, number: int) -> None:
    """Record that the versions before `number` may lose their blobs from now on."""
    objects.create(numbered(_prefix(collection), number), b"{}")


def _prefix(collection: str) -> str:
    return f"{GC_KEPT}{check_name('collection', collection)}/"
