"""This program as a process: the packages that a cluster gets along, and the signals that a library must not take."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def own_packages() -> list[str]:
    """Return the folders of this program's packages: a cluster that was not made for it gets them along."""
    import handler
    import jobs
    import model_store

    return [str(Path(package.__file__).parent) for package in (handler, jobs, model_store) if package.__file__]


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Put the handler of SIGTERM back at the end, whatever was set meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
