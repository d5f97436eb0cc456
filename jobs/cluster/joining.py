"""What a driver needs to join a cluster: a server that listens there, its packages, and its signal handler."""

from __future__ import annotations

import importlib.util
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import ClusterError, one_line

CONTACT_S = 10.0


def is_client(target: str) -> bool:
    """Return whether the address is for Ray Client, which has fewer functions than a driver in the cluster."""
    return target.startswith("ray://")


def require_listener(target: str) -> None:
    """Raise ClusterError if no server listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = target.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONTACT_S).close()
    except (OSError, OverflowError) as exc:
        raise no_cluster(target, exc) from exc


def no_cluster(target: str, error: Exception) -> ClusterError:
    """Return an error with the reason why the cluster can't be joined."""
    return ClusterError(f"no Ray cluster at '{target}': {one_line(error)}. Set --address, or 'local' for one here")


def own_packages() -> list[str]:
    """Return the folders of this program's packages, for a cluster that lacks them."""
    specs = (importlib.util.find_spec(name) for name in ("handler", "jobs", "model_store"))
    return [str(Path(spec.origin).parent) for spec in specs if spec is not None and spec.origin]


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM at the end; only the main thread can set one."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
