"""What is asked of a host: a server of models that runs in processes of its own, TorchServe or another.

The life of a host: a `Start` starts it; it is ready when `problem()` is None; a signal makes it drain; then it is
stopped. `running.py` does the first two, `supervision.py` the others. A new kind of host has a class with the methods
of `Host`, and a `Start`. What it has from here: the folder and its lock, the check of ports, `child.launch` (a child
process that ends with gridline, however that ends), the control folder, signals and grace.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from model_store.archives.archive import Archive
from model_store.serving.settings import ServerSettings


class Host(Protocol):
    """A running server, which was started with one archive. Every method may raise ServerError."""

    @property
    def name(self) -> str:
        """Return the name of the server, for messages."""

    @property
    def settings(self) -> ServerSettings:
        """Return how it was started."""

    @property
    def log_file(self) -> Path:
        """Return the file to which the server and its workers write."""

    @property
    def pid(self) -> int:
        """Return the process id of the server."""

    def exit_code(self) -> int | None:
        """Return the exit code of the server, or None while it runs."""

    def problem(self) -> str | None:
        """Return why the workers of its archive are not ready, or None. Raises ServerError if they never will be."""

    def drain(self, timeout_s: float) -> bool:
        """Refuse new requests with 503 from now on; return when all others are answered.

        Requests that came before this call are answered. Returns False if `timeout_s` was not enough for that.
        """

    def stop(self) -> None:
        """End all its processes now, and wait until they are gone; may be called again."""

    def log_tail(self) -> str:
        """Return the last lines of its log on one line, for a message."""


Host_co = TypeVar("Host_co", bound=Host, covariant=True)


class Start(Protocol[Host_co]):
    """Starts a host in its prepared folder, with an archive that is in its model store; it is not ready yet."""

    def __call__(self, settings: ServerSettings, archive: Archive, keep: Sequence[int]) -> Host_co:
        """Return the host; its processes inherit the file descriptors `keep`. Raises ServerError if it can't start."""
