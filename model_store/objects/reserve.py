"""The reserve: some room in the store, which gc frees when a full disk or a quota lets it write nothing.

gc has to write before it may remove (see docs/decisions/gc-beside-writers.md). The first write to a store, and each gc,
store the objects of the reserve; a gc that can't write its claim removes them first.
"""

from __future__ import annotations

import random
from contextlib import suppress

from model_store.errors import StoreError
from model_store.names import GC_RESERVE
from model_store.objects.protocol import ObjectStore

NUM_OBJECTS = 8  # several, because a file system may lack inodes, not bytes
OBJECT_BYTES = 8192


def keep_reserve(objects: ObjectStore) -> None:
    """Store what the reserve lacks, as far as there is room for it."""
    with suppress(StoreError):
        stored = {info.key for info in objects.list(GC_RESERVE)}
        for number in range(NUM_OBJECTS):
            key = f"{GC_RESERVE}{number}"
            if key not in stored:
                objects.create(key, random.Random(number).randbytes(OBJECT_BYTES))  # noqa: S311 - not to be compressed


def use_reserve(objects: ObjectStore) -> None:
    """Remove the reserve."""
    for info in list(objects.list(GC_RESERVE)):
        objects.delete(info.key)
