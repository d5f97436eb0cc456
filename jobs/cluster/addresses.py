"""Where a cluster is: the address that was given, or that of the environment, and whether anybody listens there."""

from __future__ import annotations

import os
import socket

from jobs.errors import ClusterError

CONTACT_S = 10.0
LOCAL = "local"


def resolve_address(address: str | None) -> str:
    """Return where the cluster is: `address`, else RAY_ADDRESS, which a Ray job has; else `local`, which starts one."""
    return address or os.environ.get("RAY_ADDRESS") or LOCAL


def is_ray_job() -> bool:
    """Return whether this process was started by `ray job submit`, which has brought the program along."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def is_client(target: str) -> bool:
    """Return whether the cluster is reached by Ray's client, which does without some of what a driver can."""
    return target.startswith("ray://")


def require_listener(target: str) -> None:
    """Raise ClusterError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = target.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONTACT_S).close()
    except (OSError, OverflowError) as exc:
        raise no_cluster(target, exc) from exc


def no_cluster(target: str, error: Exception) -> ClusterError:
    """Return the error that says why a cluster can't be joined."""
    reason = " ".join(str(error).split())
    return ClusterError(f"no Ray cluster at '{target}': {reason}. Set --address, or 'local' for one here")
