"""The folder through which gridline's commands and the workers of a server speak, without the server's own help.

The environment variable GRIDLINE_CONTROL names it. A server that gridline did not start has none, and nothing of this
applies. Each request costs one look for a file, and a lock on TorchServe.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from ..answers.answering import Answer
from .control_files import BUSY, DRAINING

CONTROL = "GRIDLINE_CONTROL"
UNAVAILABLE = 503
RETRY_AFTER_S = 1


class Control:
    """The control folder of a server, or none. In a `with` block it says that this worker is answering.

    The block holds a shared lock, so that gridline, when it stops the server, sees when no worker is in one.
    """

    def __init__(self, folder: Path | None) -> None:
        self._draining = None if folder is None else str(folder / DRAINING)
        self._lock = None if folder is None else os.open(folder / BUSY, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Control:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    @property
    def is_draining(self) -> bool:
        """Whether requests are to be refused, because the server is about to end."""
        return self._draining is not None and os.access(self._draining, os.F_OK)


def control_folder() -> Path | None:
    """Return the folder `control` of the server whose worker this process is, or None."""
    name = os.environ.get(CONTROL)
    return Path(name) if name else None


def draining_answer() -> Answer:
    """Return the answer of a server that is about to end. Nothing was computed: the request may be sent again."""
    document = {
        "code": UNAVAILABLE,
        "type": "ServerStoppingError",
        "message": "the server is about to end, and did not look at the request: send it again, to another server",
    }
    return Answer(UNAVAILABLE, json.dumps(document).encode(), headers={"Retry-After": str(RETRY_AFTER_S)})
