"""The packages of this program, for upload to a cluster; and its signal handler, which Ray must not replace."""

from __future__ import annotations

import importlib.util
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def own_packages() -> list[str]:
    """Return the folders of this program's packages, for a cluster that lacks them."""
    specs = (importlib.util.find_spec(name) for name in ("handler", "jobs", "model_store"))
    return [str(Path(spec.origin).parent) for spec in specs if spec is not None and spec.origin]


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
