"""The ledger: the methods with which a program uses a store of models."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from model_store.claims.runs import RunFolder
from model_store.errors import (
    ContendedError,
    MissingObjectError,
    StoreUnreachableError,
    UnknownStoreError,
    UnknownVersionError,
)
from model_store.ledger.drafts import version_of
from model_store.ledger.gc_pins import FRESH_S, secure_blobs
from model_store.ledger.gc_runs import Folders, folders_of_runs
from model_store.ledger.history import History
from model_store.ledger.version_json import version_json
from model_store.ledger.versions import Draft, Version
from model_store.names import VERSIONS
from model_store.objects.blobs import BlobRef, put_blob
from model_store.objects.opening import open_objects
from model_store.objects.probe import require_promises
from model_store.objects.protocol import ObjectStore
from model_store.objects.s3_settings import S3Settings

if TYPE_CHECKING:
    from model_store.ledger.champion import ChampionModel
    from model_store.ledger.gc import GcReport
    from model_store.ledger.repair import Repair
    from model_store.ledger.verify import Problem

STORE_VARIABLE = "GRIDLINE_STORE"
DEFAULT_STORE = "gridline-store"
COMMIT_ATTEMPTS = 500
READ_ATTEMPTS = 5
MAX_PAUSE_S = 0.5

Propose = Callable[[Version | None], Draft | None]


def open_ledger(uri: str | None = None, settings: S3Settings | None = None) -> Ledger:
    """Return the ledger at `s3://bucket/prefix` or a folder; by default at GRIDLINE_STORE, else `gridline-store`.

    Nothing is contacted or created before the first call of a method. `settings` come from the environment by default.
    """
    return Ledger(open_objects(uri or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE, settings))


class Ledger:
    """Versions, blobs and runs in one store. Safe to share between threads; each process opens its own."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects
        self._histories: dict[str, History] = {}
        self._written: dict[BlobRef, float] = {}

    @property
    def uri(self) -> str:
        """The address of the store."""
        return self.objects.uri

    def put_blob(self, data: bytes, ext: str) -> BlobRef:
        """Store bytes under their sha256 and return their name."""
        require_promises(self.objects)
        began_at = time.monotonic()
        ref = put_blob(self.objects, data, ext)
        self._written[ref] = began_at
        return ref

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.objects, run_id)

    def run_folders(self) -> Folders:
        """Return the objects in the folder of each run."""
        self._require_store()
        return folders_of_runs(self.objects)

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
        return self._history(collection).read(number)

    def history(self, collection: str) -> list[Version]:
        """Return every version from the newest to the first. Raises UnknownCollectionError."""
        self.version(collection)
        return self._history(collection).newest_first()

    def champion(
        self, collection: str, dataset: str, version: int | None = None, *, verify_statistics: bool = True
    ) -> ChampionModel:
        """Return the model of a dataset in a version, the newest by default; see `read_champion`.

        Raises UnknownCollectionError, UnknownVersionError, UnknownDatasetError and CorruptObjectError.
        """
        from model_store.ledger.champion import read_champion

        for _ in range(READ_ATTEMPTS):
            read_version = self.version(collection, version)
            try:
                return read_champion(read_version, dataset, verify_statistics=verify_statistics)
            except MissingObjectError as exc:
                if read_version.number >= self._history(collection).oldest_kept():
                    raise
                if version is not None:
                    raise self._collected(collection, version) from exc
        raise ContendedError(
            f"collection '{collection}' in {self.uri}: gc removed {READ_ATTEMPTS} versions while reading"
        )

    def gc(self, collection: str, keep: int, dry_run: bool = False, grace_s: float | None = None) -> GcReport:
        """Remove blobs that none of the newest `keep` versions names; see `model_store.ledger.gc.collect`."""
        from model_store.ledger.gc import collect

        self.version(collection)
        return collect(self.objects, collection, keep, dry_run, grace_s)

    def verify(self, collection: str) -> list[Problem]:
        """Read every object of a collection and return the broken ones. Raises UnknownCollectionError."""
        from model_store.ledger.verify import verify

        self._require_store()
        return verify(self.objects, collection)

    def repair(self, collection: str, *, dry_run: bool = False) -> Repair:
        """Mend what can be mended of a collection by a new version; see `model_store.ledger.repair`."""
        from model_store.ledger.repair import repair

        self._require_store()
        return repair(self.objects, collection, partial(self._commit_after, collection), dry_run=dry_run)

    def transact(self, collection: str, propose: Propose) -> Version | None:
        """Commit the draft that `propose` makes from the newest version, and return the new version.

        `propose` gets the head (None at first) and returns a Draft, or None if there is nothing to commit; then the
        result is None too. If another writer is faster, `propose` is called again with the newer head.
        Raises StoreUnreachableError if the commit may or may not exist: running again finds out.
        """
        history = self._history(collection)
        head = history.head()
        num_gone = 0
        for attempt in range(COMMIT_ATTEMPTS):
            draft = propose(head)
            if draft is None:
                return None
            require_promises(self.objects)
            try:
                version = self._prepare(collection, head, draft)
            except MissingObjectError:  # gc has removed a blob: a proposal that stores its blobs stores it again
                num_gone += 1
                if num_gone == READ_ATTEMPTS:
                    raise
                continue
            if self._create(history, version):
                return version
            head = history.overtaken(version.number)
            time.sleep(random.uniform(0, min(MAX_PAUSE_S, 0.01 * attempt)))  # noqa: S311
        raise ContendedError(
            f"collection '{collection}' in {self.uri}: other writers were faster {COMMIT_ATTEMPTS} times: run again"
        )

    def rollback(
        self, collection: str, number: int, run_id: str = "", *, reason: str = "", datasets: Collection[str] = ()
    ) -> Version:
        """Commit the champions of an old version as a new version, and return it; the head if that is `number`.

        With `datasets` only theirs. The models that it takes back are withdrawn: a run does not promote them again.
        Raises UnknownVersionError if there is no such version, or gc has removed its blobs, and UnknownDatasetError.
        """
        from model_store.ledger.rollback import rollback_to

        old = self.version(collection, number)
        try:
            return self.transact(collection, rollback_to(old, run_id, reason, datasets)) or self.version(collection)
        except MissingObjectError as exc:
            if number >= self._history(collection).oldest_kept():
                raise
            raise self._collected(collection, number) from exc

    def release(self, collection: str, datasets: Collection[str] = (), run_id: str = "") -> Version:
        """Commit a version in which no model of some datasets, or of any, is withdrawn, and return it.

        Raises NothingWithdrawnError.
        """
        from model_store.ledger.rollback import release

        head = self.version(collection)
        return self.transact(collection, release(self._history(collection).read, run_id, datasets)) or head

    def _drafted(self, collection: str, parent: Version | None, draft: Draft) -> Version:
        now = datetime.fromtimestamp(self.objects.now(), UTC).isoformat(timespec="milliseconds")
        return version_of(self.objects, self.put_blob, collection, parent, draft, now)

    def _prepare(self, collection: str, head: Version | None, draft: Draft) -> Version:
        version = self._drafted(collection, head, draft)
        named = version.blobs() - (head.blobs() if head else set())
        since = time.monotonic() - FRESH_S
        fresh = {ref: at for ref, at in self._written.items() if at > since and ref in named}
        secure_blobs(
            self.objects, named, fresh.keys(), time.monotonic() - min(fresh.values(), default=time.monotonic())
        )
        return version

    def _commit_after(self, collection: str, base: Version | None, draft: Draft, broken: frozenset[str]) -> Version:
        """Commit a repair; all shards are written again. Raises ContendedError if another process was faster."""
        require_promises(self.objects)
        parent = None if base is None else replace(base, shards=(), cache={})
        version = self._drafted(collection, parent, draft)
        secure_blobs(self.objects, {ref for ref in version.blobs() if ref.key not in broken}, frozenset(), 0.0)
        if not self._create(self._history(collection), version):
            raise ContendedError(f"another process has committed version {version.number}: repair again")
        return version

    def _create(self, history: History, version: Version) -> bool:
        try:
            return history.create(version, version_json(version))
        except StoreUnreachableError as exc:
            raise StoreUnreachableError(
                exc.where, f"{exc.cause}; version {version.number} may or may not be committed: run again to find out"
            ) from exc

    def _collected(self, collection: str, number: int) -> UnknownVersionError:
        kept = self._history(collection).oldest_kept()
        return UnknownVersionError(
            f"version {number} of collection '{collection}' is no longer whole in {self.uri}: gc has removed what only "
            f"it named; versions {kept} and newer are whole"
        )

    def _history(self, collection: str) -> History:
        return self._histories.setdefault(collection, History(self.objects, collection))

    def _require_store(self) -> None:
        if not self.objects.exists():
            raise UnknownStoreError(f"there is no store at {self.uri}: train first, or set --store or {STORE_VARIABLE}")
