"""The ledger: what a program does with a store of models. Everything else in the package serves these verbs."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .blobs import BlobRef, blob_path, put_blob, read_blob
from .drafts import version_of
from .errors import (
    ContendedError,
    MissingObjectError,
    StoreUnreachableError,
    UnknownCollectionError,
    UnknownStoreError,
)
from .history import History
from .names import VERSIONS
from .objects import ObjectStore, open_objects
from .probe import require_promises
from .runs import RunFolder
from .s3_settings import S3Settings
from .versions import Draft, Version, version_json

if TYPE_CHECKING:
    from .champion import ChampionModel

STORE_VARIABLE = "GRIDLINE_STORE"
DEFAULT_STORE = "gridline-store"
COMMIT_ATTEMPTS = 500
READ_ATTEMPTS = 5
MAX_PAUSE_S = 0.5

Propose = Callable[[Version | None], Draft | None]


def open_ledger(uri: str | None = None, settings: S3Settings | None = None) -> Ledger:
    """Return the ledger at `s3://bucket/prefix` or a folder; by default at GRIDLINE_STORE, else `gridline-store`.

    Nothing is contacted, and no folder made, before the first verb. `settings` are those of the environment unless
    given.
    """
    return Ledger(open_objects(uri or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE, settings))


class Ledger:
    """Versions, blobs and runs in one store. Safe to share between threads; each process opens its own."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects
        self._histories: dict[str, History] = {}

    @property
    def uri(self) -> str:
        """The address of the store."""
        return self.objects.uri

    def put_blob(self, data: bytes, ext: str) -> BlobRef:
        """Store bytes under their sha256 and return their name."""
        require_promises(self.objects)
        return put_blob(self.objects, data, ext)

    def read_blob(self, ref: BlobRef) -> bytes:
        """Return the bytes of a blob. Raises MissingObjectError and CorruptObjectError."""
        return read_blob(self.objects, ref)

    def blob_path(self, ref: BlobRef, cache_dir: Path) -> Path:
        """Return a verified file with the bytes of a blob, to be memory-mapped: the store's own, or a cached copy."""
        return blob_path(self.objects, ref, cache_dir)

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.objects, run_id)

    def collections(self) -> list[str]:
        """Return the names of the collections, in order. Raises UnknownStoreError if there is no store."""
        self._require_store()
        return list(self.objects.folders(VERSIONS))

    def head(self, collection: str) -> Version | None:
        """Return the newest version, or None if nothing was committed."""
        return self._history(collection).head()

    def version(self, collection: str, number: int | None = None) -> Version:
        """Return one version, the newest by default. Raises UnknownCollectionError and UnknownVersionError."""
        self._require_store()
        history = self._history(collection)
        version = history.read(number) if number is not None else history.head()
        if version is None:
            raise UnknownCollectionError(
                f"collection '{collection}' is not in {self.uri}; it has {self.collections()}: train it first"
            )
        return version

    def history(self, collection: str) -> list[Version]:
        """Return every version from the newest to the first. Raises UnknownCollectionError."""
        self.version(collection)
        return list(self._history(collection).newest_first())

    def champion(self, collection: str, dataset: str, version: int | None = None) -> ChampionModel:
        """Return the model of a dataset in a version, the newest by default.

        Raises UnknownCollectionError, UnknownVersionError, UnknownDatasetError and CorruptObjectError.
        """
        from .champion import read_champion

        for attempt in range(READ_ATTEMPTS):
            found = self.version(collection, version)
            try:
                return read_champion(found, dataset)
            except MissingObjectError:
                # A newer version may have come, and gc removed the one just read.
                is_same = version is not None or self.version(collection).number == found.number
                if is_same or attempt == READ_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def transact(self, collection: str, propose: Propose) -> Version | None:
        """Commit what `propose` makes of the newest version, and return the new version.

        `propose` gets the head (None at first) and returns a Draft, or None if there is nothing to commit; then None is
        returned. It is called again with the newer head whenever another writer was faster.
        Raises StoreUnreachableError when it can't be known whether the commit landed: running again finds out.
        """
        history = self._history(collection)
        head = history.head()
        for attempt in range(COMMIT_ATTEMPTS):
            draft = propose(head)
            if draft is None:
                return None
            require_promises(self.objects)
            version = self._prepare(collection, head, draft)
            if self._create(history, version):
                return version
            head = history.overtaken(version.number)
            time.sleep(random.uniform(0, min(MAX_PAUSE_S, 0.01 * attempt)))  # noqa: S311
        raise ContendedError(
            f"collection '{collection}' in {self.uri}: other writers were faster {COMMIT_ATTEMPTS} times: run again"
        )

    def rollback(self, collection: str, number: int, run_id: str = "") -> Version:
        """Commit the champions of an old version again, and return the new version; the head if it is that one.

        Raises UnknownVersionError if there is no such version, or gc has removed what it named.
        """
        old = self.version(collection, number)

        def propose(head: Version | None) -> Draft | None:
            if head is not None and head.number == number:
                return None
            return Draft(old.table(), run_id, "rollback", f"to version {number}")

        return self.transact(collection, propose) or old

    def _prepare(self, collection: str, head: Version | None, draft: Draft) -> Version:
        now = datetime.fromtimestamp(self.objects.now(), UTC).isoformat(timespec="milliseconds")
        return version_of(self.objects, collection, head, draft, uuid.uuid4().hex, now)

    def _create(self, history: History, version: Version) -> bool:
        try:
            return history.create(version, version_json(version))
        except StoreUnreachableError as exc:
            raise StoreUnreachableError(
                exc.where, f"{exc.cause}; version {version.number} may or may not be committed: run again to find out"
            ) from exc

    def _history(self, collection: str) -> History:
        return self._histories.setdefault(collection, History(self.objects, collection))

    def _require_store(self) -> None:
        if not self.objects.exists():
            raise UnknownStoreError(f"there is no store at {self.uri}: train first, or set --store or {STORE_VARIABLE}")
