"""What a job trains while its store takes nothing: kept on the driver's disk, and stored by the next run.

    <GRIDLINE_SPOOL>/<16 digits of the sha256 of the store's address>/runs/<run_id>/…     objects of runs

It is a store in a folder: an object is whole or absent, and sealed with its sha256. The keys of trials have all that
they depend on, so a later run of another configuration finds none of its own in it. One process at a time works on the
folder of a store, by a lock of the system beside it.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.cluster.memory import size_text
from model_store.claims.runs import RunFolder
from model_store.errors import CorruptObjectError, StoreError, StoreRefusedError, StoreUnreachableError
from model_store.ledger.ledger import Ledger
from model_store.names import RUN_CHECKPOINTS, RUNS
from model_store.objects.folder import FolderObjects
from model_store.objects.protocol import ObjectInfo

SPOOL_VARIABLE = "GRIDLINE_SPOOL"
MAX_BYTES = 10 * 2**30  # of one store
TAKES_NOTHING = (StoreUnreachableError, StoreRefusedError)

log = logging.getLogger(__name__)


def spool_folder(env: Mapping[str, str]) -> Path:
    """Return the folder of spools: GRIDLINE_SPOOL, else where a user's programs keep their state."""
    if given := env.get(SPOOL_VARIABLE):
        return Path(given).absolute()
    state = env.get("XDG_STATE_HOME")
    return (Path(state) if state else Path(env.get("HOME") or "/var/lib", ".local", "state")) / "gridline" / "spool"


@dataclass(frozen=True)
class Spool:
    """The objects of runs of one store that wait in `folder`."""

    ledger: Ledger
    folder: Path

    @classmethod
    def of(cls, ledger: Ledger, env: Mapping[str, str]) -> Spool:
        """Return the spool of a store, in the folder that the environment gives."""
        key = hashlib.sha256(ledger.objects.identity.encode()).hexdigest()[:16]
        return cls(ledger, spool_folder(env) / key)

    def keep(self, run_id: str, name: str, data: bytes, why: StoreError) -> None:
        """Keep an object of a run, which the store did not take; a training checkpoint instead of an older one.

        Raises `why` with the reason, if it can't be kept.
        """
        try:
            with self._locked():
                if sum(info.size_bytes for info in self._infos()) + len(data) > MAX_BYTES:
                    raise StoreRefusedError(str(self.folder), "", f"it has more than {size_text(MAX_BYTES)}")
                RunFolder(FolderObjects(self.folder), run_id).create(name, data)
                if name.startswith(RUN_CHECKPOINTS):
                    self._drop_older(f"{RUNS}{run_id}/{name}")
        except (OSError, StoreError) as exc:
            reason = exc.cause if isinstance(exc, StoreRefusedError) else " ".join(str(exc).split())
            raise _with(why, f"nor can it be kept in {self.folder} ({reason}): set {SPOOL_VARIABLE}") from why

    def store(self) -> list[str]:
        """Store all that is kept, remove it here, and return the runs. Raises StoreError if the store takes it not."""
        if not self.folder.is_dir():
            return []
        runs: dict[str, None] = {}
        with self._locked():
            kept = FolderObjects(self.folder)
            for info in self._infos():
                run_id, _, name = info.key.removeprefix(RUNS).partition("/")
                try:
                    data = RunFolder(kept, run_id).read(name)
                except CorruptObjectError as exc:
                    log.warning("%s; it is trained again", exc)
                    data = None
                if data is not None:
                    self.ledger.run(run_id).create(name, data)
                    runs[run_id] = None
                kept.delete(info.key)
            shutil.rmtree(self.folder)
        return list(runs)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Say in the error of a store that takes nothing what is kept, where, and what comes of it."""
        try:
            yield
        except TAKES_NOTHING as exc:
            infos = self._infos() if self.folder.is_dir() else []
            if not infos:
                raise
            size, number = size_text(sum(info.size_bytes for info in infos)), len(infos)
            what = f"{number} result{'' if number == 1 else 's'} of training ({size})"
            raise _with(
                exc,
                f"{what} that the store did not take {'is' if number == 1 else 'are'} kept in {self.folder}: run again "
                "on this machine when the store answers: that stores and commits them, and trains only what is missing",
            ) from exc

    def _infos(self) -> list[ObjectInfo]:
        return list(FolderObjects(self.folder).list(RUNS))

    def _drop_older(self, key: str) -> None:
        objects = FolderObjects(self.folder)
        for info in objects.list(f"{key.rpartition('/')[0]}/"):
            if info.key < key:
                objects.delete(info.key)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Make the folder, for this user alone, and wait for other processes that work on it."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            yield


def _with(error: StoreError, more: str) -> StoreError:
    """Return an error of a store with more behind its cause."""
    if isinstance(error, StoreUnreachableError):
        return StoreUnreachableError(error.where, f"{error.cause}; {more}")
    if isinstance(error, StoreRefusedError):
        return StoreRefusedError(error.bucket, error.key, f"{error.cause}; {more}")
    return error
