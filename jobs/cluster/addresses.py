"""The address of a cluster: from the command line or the environment; and whether a server listens there."""

from __future__ import annotations

import os
import socket

from jobs.errors import ClusterError

CONTACT_S = 10.0
LOCAL = "local"


def resolve_address(address: str | None) -> str:
    """Return `address`, else RAY_ADDRESS (set in a Ray job), else `local`, which starts a cluster."""
    return address or os.environ.get("RAY_ADDRESS") or LOCAL


def is_ray_job() -> bool:
    """Return whether `ray job submit` started this process; then Ray has uploaded the program."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


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
    reason = " ".join(str(error).split())
    return ClusterError(f"no Ray cluster at '{target}': {reason}. Set --address, or 'local' for one here")
