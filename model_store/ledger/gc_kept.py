"""What gc keeps whole: the kept versions of every collection, and the champion tables of withdrawn ones."""

from __future__ import annotations

from collections.abc import Set

from model_store.errors import CorruptObjectError, MissingObjectError, NewerFormatError
from model_store.ledger.history import History
from model_store.ledger.versions import Version
from model_store.names import VERSIONS
from model_store.objects.blobs import BlobRef
from model_store.objects.protocol import ObjectStore, in_parallel


def kept_versions(objects: ObjectStore, collection: str, oldest: int) -> tuple[list[Version], list[str]]:
    """Return the kept versions of every collection, and the other collections in which some can't be read.

    `oldest` is the first one of `collection`, whose kept versions must be whole.
    """
    versions: list[Version] = []
    unreadable = []
    for name in objects.folders(VERSIONS):
        history = History(objects, name)
        if name == collection:
            versions += history.newest_first(oldest)
            continue
        found, is_whole = _readable(history)
        versions += found
        if not is_whole:
            unreadable.append(name)
    return versions, unreadable


def _readable(history: History) -> tuple[list[Version], bool]:
    """Return the kept versions of which commit and champion table can be read, and whether all can.

    Raises NewerFormatError.
    """
    head = history.newest_whole()
    numbers = range(history.oldest_kept(), history.head_number() + 1)
    found = [history.read_whole(number) for number in numbers if head is None or number not in head.lost]
    whole = [version for version in found if version is not None and _has_table(version)]
    return whole, len(whole) == len(found)


def _has_table(version: Version) -> bool:
    try:
        version.blobs()
    except NewerFormatError:
        raise
    except (MissingObjectError, CorruptObjectError):
        return False
    return True


def withdrawn_shards(objects: ObjectStore, versions: Set[tuple[str, int]]) -> set[str]:
    """Return the champion tables, without the checkpoints, of withdrawn versions: what their models are known by."""
    histories = {collection: History(objects, collection) for collection, _ in versions}
    found = in_parallel(lambda each: histories[each[0]].read_whole(each[1]), versions)
    return {shard.blob.key for version in found if version is not None for shard in version.shards}


def blobs_left(version: Version) -> set[BlobRef]:
    """Return the blobs of a dropped version; if its table is lost, as after an interrupted gc, only the shards."""
    try:
        return version.blobs()
    except (MissingObjectError, CorruptObjectError):
        return {shard.blob for shard in version.shards}
