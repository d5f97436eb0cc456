"""Run uvicorn as a child process, in its own folder: a host of models without Java."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from model_store.archives.archive import Archive
from model_store.asgi.keys import read_keys
from model_store.asgi.settings import HostSettings
from model_store.deployment.errors import ServerError
from model_store.serving import child, control
from model_store.serving.child import Child, ChildHost
from model_store.serving.folder import refuse_long_path
from model_store.serving.settings import ServerSettings
from model_store.torchserve.configuration import environment
from model_store.torchserve.management import why_not_ready

LOG, SETTINGS = "uvicorn.log", "uvicorn.json"
GRACE_S = 30.0  # of a worker that is replaced, or no longer needed
SOCKET = "pymp-xxxxxxxx/listener-xxxxxxxx"  # of multiprocessing, in the temporary folder
CODE = Path(__file__).parents[2]


class Uvicorn(ChildHost):
    """A running server, a `Host`; its process starts the workers, and ends with them."""

    name = "uvicorn"

    def __init__(self, settings: ServerSettings, process: Child, archive: Archive) -> None:
        super().__init__(settings, process, settings.folder / LOG)
        self._archive = archive

    def problem(self) -> str | None:
        return why_not_ready(self.settings, self._archive)

    def drain(self, timeout_s: float) -> bool:
        """Refuse new requests with 503, wait for the others, and then for the clients that read their answers."""
        deadline = time.monotonic() + timeout_s
        control.refuse_requests(self.settings.control)
        if not control.wait_until_idle(self.settings.control, deadline):
            return False
        return self.end(deadline)


def start(settings: ServerSettings, archive: Archive, keep: Sequence[int] = ()) -> Uvicorn:
    """Start a server in its prepared folder, with an archive of its model store: it is not ready yet.

    Raises ServerError if it can't be started, or the folder's path is too long for the sockets in it.
    """
    refuse_long_path(settings, SOCKET)
    if settings.keys is not None:
        read_keys(settings.keys)
    folder = settings.folder.resolve()
    HostSettings.of(settings, archive, GRACE_S).write(folder / SETTINGS)
    command = [sys.executable, "-m", "model_store.asgi", str(folder / SETTINGS)]
    variables = {**environment(settings), "PYTHONPATH": str(CODE)}
    try:
        process = child.launch(command, folder, variables, folder / LOG, keep=keep)
    except OSError as exc:
        raise ServerError(f"uvicorn can't be started: {exc}") from exc
    return Uvicorn(settings, process, archive)
