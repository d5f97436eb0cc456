"""The folder of a server: one live process holds it, and all that the server writes is in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_store.deployment.errors import ServerError
from model_store.serving.control import accept_requests
from model_store.serving.settings import ServerSettings

LOCK = "serve.lock"
SOCKET_PATH_LIMIT_BYTES = 108
DYING_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.05


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Hold a folder until the block ends; yield the descriptor of its lock, which the server's processes inherit.

    So a folder is free when the last of them has ended, not only the process that started them.
    Raises ServerError if another live process holds the folder, or the folder can't be written.
    """
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # keys, and sockets through which anyone could talk to the workers
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(lock, folder)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        try:
            yield lock
        finally:
            os.ftruncate(lock, 0)  # who comes now waits for the processes that still end
    finally:
        os.close(lock)


def refuse_long_path(settings: ServerSettings, socket: str) -> None:
    """Raise ServerError if the path of a socket in the server's temporary folder would be too long for the system."""
    if len(str(settings.temporary.resolve() / socket).encode()) >= SOCKET_PATH_LIMIT_BYTES:
        raise ServerError(
            f"the path of folder {settings.folder} is too long for a socket: set --folder to a shorter one"
        )


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Raise ServerError for a folder of a server that can't be written in the block."""
    try:
        yield
    except OSError as exc:
        where = exc.filename or folder
        raise ServerError(
            f"{where} can't be written: {exc.strerror}; make room there, or set --folder to one that you own"
        ) from exc


def _lock(lock: int, folder: Path) -> None:
    """Take the lock; wait for the processes of a server whose own process has ended, since they end at once."""
    deadline = time.monotonic() + DYING_TIMEOUT_S
    while True:
        with written(folder), contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        if (holder and Path(f"/proc/{holder}").exists()) or time.monotonic() > deadline:
            by = f"the server of process {holder}" if holder else "processes of a server that should have ended"
            raise ServerError(f"folder {folder} is in use by {by}: end that, or set --folder to another")
        time.sleep(POLL_INTERVAL_S)


def prepare(settings: ServerSettings) -> None:
    """Make the folders of a server that starts now, and remove what an earlier one left of keys, sockets and orders."""
    with written(settings.folder):
        settings.folder.mkdir(parents=True, exist_ok=True)
        settings.folder.chmod(0o700)
        shutil.rmtree(settings.temporary, ignore_errors=True)
        for folder in (settings.model_store, settings.temporary, settings.control):
            folder.mkdir(exist_ok=True)
        settings.key_file.unlink(missing_ok=True)
        accept_requests(settings.control)
