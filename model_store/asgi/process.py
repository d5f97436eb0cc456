"""Run uvicorn as a child process, in its own folder: a host of models without Java."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from model_store.archives.archive import Archive
from model_store.asgi.keys import read_keys
from model_store.asgi.settings import HostSettings, WorkerSettings
from model_store.deployment.errors import ServerError
from model_store.serving import child, control
from model_store.serving.child import Child
from model_store.serving.settings import ServerSettings
from model_store.torchserve.configuration import environment
from model_store.torchserve.management import why_not_ready

LOG, SETTINGS = "uvicorn.log", "uvicorn.json"
GRACE_S = 30.0  # of a worker that is replaced, or no longer needed
SOCKET_PATH_LIMIT_BYTES = 108
SOCKET = "pymp-xxxxxxxx/listener-xxxxxxxx"  # of multiprocessing, in the temporary folder
POLL_INTERVAL_S = 0.02
CODE = Path(__file__).parents[2]


class Uvicorn:
    """A running server, a `Host`; its process starts the workers, and ends with them."""

    name = "uvicorn"

    def __init__(self, settings: ServerSettings, process: Child, archive: Archive) -> None:
        self.settings = settings
        self._process = process
        self._archive = archive

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return self.settings.folder / LOG

    def exit_code(self) -> int | None:
        return self._process.exit_code()

    def problem(self) -> str | None:
        return why_not_ready(self.settings, self._archive)

    def drain(self, timeout_s: float) -> bool:
        """Refuse new requests with 503, wait for the others, and then for the clients that read their answers."""
        deadline = time.monotonic() + timeout_s
        control.refuse_requests(self.settings.control)
        if not control.wait_until_idle(self.settings.control, deadline):
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        while self.exit_code() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_INTERVAL_S)
        return True

    def stop(self) -> None:
        self._process.kill()

    def log_tail(self) -> str:
        return child.last_lines(self.log_file)


def start(settings: ServerSettings, archive: Archive, keep: Sequence[int] = ()) -> Uvicorn:
    """Start a server in its prepared folder, with an archive of its model store: it is not ready yet.

    Raises ServerError if it can't be started, or the folder's path is too long for the sockets in it.
    """
    folder, temporary = settings.folder.resolve(), settings.temporary.resolve()
    if len(str(temporary / SOCKET).encode()) >= SOCKET_PATH_LIMIT_BYTES:
        raise ServerError(
            f"the path of folder {settings.folder} is too long for a socket: set --folder to a shorter one"
        )
    if settings.keys is not None:
        read_keys(settings.keys)
    worker = WorkerSettings(settings.max_request_size_bytes, GRACE_S, settings.access_log)
    ports, names = settings.ports, (str(folder), archive.file_name)
    keys = None if settings.keys is None else str(settings.keys.resolve())
    HostSettings(*names, settings.host, ports.inference, ports.management, settings.workers, worker, keys).write(
        folder / SETTINGS
    )
    command = [sys.executable, "-m", "model_store.asgi", str(folder / SETTINGS)]
    variables = {**environment(settings), "PYTHONPATH": str(CODE)}
    try:
        process = child.launch(command, folder, variables, folder / LOG, keep=keep)
    except OSError as exc:
        raise ServerError(f"uvicorn can't be started: {exc}") from exc
    return Uvicorn(settings, process, archive)
