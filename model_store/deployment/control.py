"""The folder `control/` of a server: what the commands of gridline say to its workers, and to one another.

    control/holds.json                 the versions that --follow keeps, by collection
    control/rollouts.json              the canary or the shadow of each collection; workers read it
    control/rollouts/<id>/             the models of a canary or a shadow, and what each worker counted
    control/followers/<collection>.json   what a --follow saw last
    control/deploy-<collection>.lock   held by the process that deploys

A file is replaced as a whole, so that its readers never see half of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model_store.deployment.errors import BusyError, ServerError

HOLDS, FOLLOWERS = "holds.json", "followers"
CONTROL = "control"
POLL_INTERVAL_S = 0.1
Json = dict[str, Any]


class Control:
    """The folder `control/` at `folder`, made when it is first written. Raises ServerError if that fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, model_store: Path) -> Control:
        """Return the folder beside the model store of a server; or in it, hidden, where it can't be made there.

        A follower may start before its server, which then takes the folder that is there.
        """
        folder = model_store.resolve().parent / CONTROL
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            folder = model_store.resolve() / f".{CONTROL}"
        return cls(folder)

    def read(self, name: str) -> Json:
        """Return the object in a file; an empty one if there is no file."""
        path = self.folder / name
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            raise ServerError(f"{path} can't be read: {exc}; remove it, and deploy again") from exc
        if not isinstance(document, dict):
            raise ServerError(f"{path} is not a JSON object: remove it, and deploy again")
        return document

    def write(self, name: str, document: Json) -> None:
        """Replace a file."""
        path = self.folder / name
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(document, file, indent=1)
                Path(partial).replace(path)
            finally:
                Path(partial).unlink(missing_ok=True)

    def set(self, name: str, collection: str, entry: Json | None) -> None:
        """Set the entry of a collection in a file that all collections share, or remove it."""
        with self._lock(f".{name}.lock", wait=True, waits=None):
            document = self.read(name)
            if entry is None and collection not in document:
                return
            others = {key: value for key, value in document.items() if key != collection}
            self.write(name, others if entry is None else others | {collection: entry})

    @contextlib.contextmanager
    def deploying(
        self, collection: str, *, wait: bool = True, waits: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        """Be the only process that deploys this collection on this server until the block ends.

        While another one is, wait for it, after telling `waits` once. Raises BusyError with `wait` False.
        The lock ends with its process, however that ends.
        """
        with self._lock(f"deploy-{collection}.lock", wait=wait, waits=waits):
            yield

    @contextlib.contextmanager
    def _lock(self, name: str, *, wait: bool, waits: Callable[[str], None] | None) -> Iterator[None]:
        path = self.folder / name
        with _writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            while not _locked(file.fileno()):
                holder = path.read_text().strip() or "another process"
                if not wait:
                    raise BusyError(f"{holder} is deploying it")
                if waits is not None:
                    waits(holder)
                    waits = None
                time.sleep(POLL_INTERVAL_S)
            with contextlib.suppress(OSError):  # a full disk: then it has no name for the others
                os.truncate(file.fileno(), 0)
                os.pwrite(file.fileno(), f"process {os.getpid()}".encode(), 0)
            yield


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ServerError(
            f"{path} can't be written: {exc.strerror}; make room there, and give its folder to this user"
        ) from exc


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
