"""What a command takes: its seconds, and the memory of all its processes together, what they share counted once."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

INTERVAL_S = 0.25


@dataclass(frozen=True)
class Footprint:
    """The seconds of a command, and the highest sum of the proportional set sizes of it and all it started."""

    seconds: float
    peak_bytes: int


def measure(command: Sequence[str], environment: dict[str, str] | None = None) -> Footprint:
    """Run a command, which has to succeed; what it prints is left unread in a file."""
    peak = _Peak()
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **(environment or {})}
        )
        watcher = threading.Thread(target=peak.watch, args=(process.pid,))
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - started
        peak.ended.set()
        watcher.join()
        if code != 0:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} exited with {code}:\n{errors.read()[-2000:].decode()}")
    return Footprint(seconds, peak.bytes)


class _Peak:
    """The highest memory of a process and its descendants that was seen so far."""

    def __init__(self) -> None:
        self.bytes = 0
        self.ended = threading.Event()

    def watch(self, pid: int) -> None:
        while not self.ended.wait(INTERVAL_S):
            self.bytes = max(self.bytes, tree_bytes(pid))


def tree_bytes(pid: int) -> int:
    """Return the proportional set sizes of a process and its descendants together; 0 where it has ended."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(map(_own_bytes, family))


def _own_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0
