"""A canary or a shadow in the folder `control` of a server: put on by one file, taken off by removing it.

handler/hosting/rollout_files.py says what the workers read.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from handler.hosting.rollout_counts import RolloutCounts, read_counts
from handler.hosting.rollout_files import ALIVE, COUNTS, FOLDERS, ROLLOUTS, Kind, Wanted, wanted
from model_store.archives.archive import MODEL_FOLDER, Archive
from model_store.deployment.control import Control
from model_store.deployment.errors import ServerError

OF_COLLECTION = r"{}-\d+-[0-9a-f]{{8}}"
END_TIMEOUT_S = 2.0
END_POLL_S = 0.02
RANDOM = "[a-z0-9_]{8}"  # what Python appends to the name of a temporary folder


@contextmanager
def rolled_out(control: Control, archive: Archive, base: int, kind: Kind, share: float) -> Iterator[Wanted]:
    """Have the workers of version `base` open a new version beside it until the block ends, however it ends.

    Raises ServerError if its models can't be written, on a full disk for instance.
    """
    name = f"{archive.collection}-{archive.version}-{secrets.token_hex(4)}"
    what = Wanted(name, kind, archive.version, base, share)
    try:
        _unpack(archive, control, what)
        watch(control, what)
        control.set(ROLLOUTS, archive.collection, asdict(what))
        yield what
    finally:
        control.set(ROLLOUTS, archive.collection, None)
        _wait_until_ended(what.folder(control.folder) / COUNTS)
        take_off(control, archive.collection)


def _wait_until_ended(counts: Path) -> None:
    """Wait until each worker has ended a canary and removed its counts; one that was killed leaves them there."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while counts.is_dir() and any(counts.iterdir()) and time.monotonic() < deadline:
        time.sleep(END_POLL_S)


def watch(control: Control, what: Wanted) -> None:
    """Tell the workers that this process still watches. Raises ServerError."""
    path = what.folder(control.folder) / ALIVE
    try:
        path.touch()
    except OSError as exc:
        raise ServerError(f"{path} can't be written: {exc.strerror}") from exc


def counts_of(control: Control, what: Wanted) -> list[RolloutCounts]:
    """Return what each worker has counted."""
    return read_counts(what.folder(control.folder) / COUNTS)


def rolled_out_now(control: Control | None, collection: str) -> Wanted | None:
    """Return the canary or the shadow of a collection, or None."""
    return None if control is None else wanted(control.folder, collection)


def take_off(control: Control, collection: str) -> None:
    """End the canary or the shadow of a collection, and remove what a killed `gridline deploy` of it has left."""
    if (control.folder / ROLLOUTS).exists():
        control.set(ROLLOUTS, collection, None)
    _remove(control.folder / FOLDERS, OF_COLLECTION.format(re.escape(collection)))
    _remove(control.folder, re.escape(prefix_of(collection)) + RANDOM)


def prefix_of(collection: str) -> str:
    """Return how the names of the temporary folders begin in which archives of a collection are made."""
    return f"gridline-deploy-{collection}-"


def _remove(parent: Path, names: str) -> None:
    """Remove the folders in `parent` whose names match."""
    for path in parent.iterdir() if parent.is_dir() else ():
        if re.fullmatch(names, path.name):
            shutil.rmtree(path, ignore_errors=True)


def _unpack(archive: Archive, control: Control, what: Wanted) -> None:
    """Unpack the models of a verified archive, and none of its code."""
    folder = what.folder(control.folder)
    try:
        folder.mkdir(parents=True)
        with zipfile.ZipFile(archive.path) as file:
            file.extractall(folder, [name for name in file.namelist() if name.startswith(f"{MODEL_FOLDER}/")])
    except OSError as exc:
        raise ServerError(f"{folder} can't be written: {exc.strerror}; make room there") from exc
