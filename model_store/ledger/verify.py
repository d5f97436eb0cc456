"""Verification: read every object that the versions of a collection name, and return the broken ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model_store.errors import MissingObjectError, StoreError, StoreRefusedError, StoreUnreachableError
from model_store.ledger.champion_columns import row_blobs
from model_store.ledger.checkpoint_arrays import require_row
from model_store.ledger.checkpoints import read_stack
from model_store.ledger.history import History
from model_store.ledger.versions import Version
from model_store.names import numbered, version_prefix
from model_store.objects.blobs import BlobRef, read_blob
from model_store.objects.protocol import ObjectStore, in_parallel

COLUMNS = ["dataset", "checkpoint", "checkpoint_size", "statistics", "statistics_size", "row"]

Kind = Literal["commit", "parent", "table", "blob", "refused"]


@dataclass(frozen=True)
class Problem:
    """A broken object: its key, the oldest version that needs it, and the reason.

    `kind` is what it is: a commit, the parent that a commit names, a shard of a champion table, a blob of models, or an
    object that the storage refuses to read.
    """

    key: str
    version: int
    reason: str
    kind: Kind = "blob"


@dataclass(frozen=True)
class _Use:
    """How versions use a checkpoint with its statistics: the highest row and, for messages, its dataset."""

    blobs: tuple[BlobRef, ...]
    last_row: int
    dataset: str
    version: int


def verify(objects: ObjectStore, collection: str) -> list[Problem]:
    """Return the broken objects of a collection, in order of versions. Raises UnknownCollectionError.

    It checks that no number is missing, every commit's checksum and parent, and, for the kept versions, every table,
    every blob's size and sha256, and that the checkpoints have the rows that the tables name. Versions that a repair
    has named as lost are left out. Raises StoreUnreachableError too.
    """
    history = History(objects, collection)
    head = history.head_number()
    if not head:
        raise history.unknown_collection()
    first_whole = history.oldest_kept()
    problems: list[Problem] = []
    uses: dict[tuple[BlobRef, ...], _Use] = {}
    parent: str | None = None
    newest = history.newest_whole()
    lost = newest.lost if newest else ()
    for number in range(1, head + 1):
        try:
            version = history.read(number)
        except StoreUnreachableError:
            raise
        except StoreError as exc:
            if number not in lost:
                key, kind = numbered(version_prefix(collection), number), _kind(exc, "commit")
                problems.append(Problem(key, number, str(exc), kind))
            parent = None
            continue
        if parent is not None and version.parent != parent:
            problems.append(Problem(version.key, number, "its parent is not the version before it", "parent"))
        parent = version.commit_id
        if number >= first_whole:
            problems += _note_uses(version, uses)
    for broken in in_parallel(lambda use: list(_check(objects, use)), uses.values()):
        problems += broken
    return sorted(set(problems), key=lambda problem: (problem.version, problem.key))


def _note_uses(version: Version, uses: dict[tuple[BlobRef, ...], _Use]) -> Iterator[Problem]:
    """Add the checkpoints of a version to `uses`; yield a problem for each shard of its table that can't be read."""
    _note(version.rows, version.number, uses)
    for shard in version.shards:
        try:
            _note(version.read_shard(shard).select(COLUMNS).to_pylist(), version.number, uses)
        except StoreUnreachableError:
            raise
        except StoreError as exc:
            reason = f"the champion table of version {version.number} can't be read: {exc}"
            yield Problem(shard.blob.key, version.number, reason, _kind(exc, "table"))


def _note(rows: Iterable[Mapping[str, Any]], number: int, uses: dict[tuple[BlobRef, ...], _Use]) -> None:
    for row in rows:
        blobs = tuple(row_blobs(row))
        use = uses.get(blobs)
        if use is None or row["row"] > use.last_row:
            uses[blobs] = _Use(blobs, row["row"], row["dataset"], use.version if use else number)


def _kind(error: StoreError, kind: Kind) -> Kind:
    return "refused" if isinstance(error, StoreRefusedError) else kind


def _check(objects: ObjectStore, use: _Use) -> Iterator[Problem]:
    blobs: list[bytes] = []
    for ref in use.blobs:
        try:
            blobs.append(read_blob(objects, ref))
        except MissingObjectError:
            yield Problem(ref.key, use.version, f"it is missing, and dataset '{use.dataset}' needs it")
        except StoreUnreachableError:
            raise
        except StoreError as exc:
            yield Problem(ref.key, use.version, str(exc), _kind(exc, "blob"))
    if len(blobs) < len(use.blobs):
        return
    try:
        stack = read_stack(*blobs, name=use.blobs[0].key)
        require_row(use.dataset, use.last_row, len(stack.weight_md), use.blobs[0].key)
    except StoreError as exc:
        yield Problem(use.blobs[0].key, use.version, str(exc))
