"""What a driver needs to join a cluster: a server that listens there, its packages, and its signal handler."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.cluster.ray_token import require_token
from jobs.errors import ClusterError, one_line

CONTACT_S = 10.0


def is_client(target: str) -> bool:
    """Return whether the address is for Ray Client, which has fewer functions than a driver in the cluster."""
    return target.startswith("ray://")


def require_access(target: str) -> None:
    """Raise ClusterError if no server listens at HOST:PORT, or refuses the token: Ray itself would try for minutes."""
    address = _running_address() if target == "auto" else target
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONTACT_S).close()
    except (OSError, OverflowError) as exc:
        raise no_cluster(target, exc) from exc
    require_token(target, f"{host}:{port}")


def _running_address() -> str:
    """Return the address that Ray takes for `auto`: RAY_ADDRESS, or the head that was last started on this machine."""
    folder = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray"  # noqa: S108  # where Ray itself keeps it
    try:
        return os.environ.get("RAY_ADDRESS") or (folder / "ray_current_cluster").read_text().strip()
    except OSError:
        return ""


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
