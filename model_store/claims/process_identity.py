"""The identity of a process, from which a process on the same machine can tell whether it is alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """A process: `machine` is the boot id and the PID namespace, `started` the start time of the process."""

    host: str = "unknown"
    pid: int = 0
    machine: str = ""
    started: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> ProcessIdentity:
    """Return the identity of the calling process."""
    return ProcessIdentity(socket.gethostname(), os.getpid(), _machine(), start_of(os.getpid()))


def is_dead(process: ProcessIdentity) -> bool:
    """Return whether the process is known to have ended; False if this machine can't tell."""
    if not process.machine or process.machine != _machine():
        return False
    return start_of(process.pid) != process.started


def is_alive(process: ProcessIdentity) -> bool:
    """Return whether the process is known to work now; False if this machine can't tell."""
    return bool(process.machine) and process.machine == _machine() and start_of(process.pid) == process.started


@cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def start_of(pid: int) -> str:
    """Return the start time of a process in clock ticks since the boot, or an empty text if there is none."""
    fields = _fields_of(pid)
    return "" if not fields or fields[0] in "ZX" else fields[19]


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal, and lives."""
    return _fields_of(pid)[:1] in (["T"], ["t"])


def _fields_of(pid: int) -> list[str]:
    """Return what the system tells of a process after its name, of which the first is its state; nothing of none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
