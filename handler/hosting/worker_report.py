"""What a worker tells of itself once a second: a file in the server's folder, which `gridline serve` adds up.

    <control>/workers/<pid>-<start>.json

The file is replaced when something has changed, and every `HEARTBEAT_S`. Nobody reads the file of a process that has
ended but to keep its counts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..models.fleet import Fleet
from .endpoint import Endpoint
from .metrics import Metrics
from .own_file import own_file, replace_file

FORMAT = 1
INTERVAL_S = 1.0
HEARTBEAT_S = 5.0
WORKERS = "workers"


class WorkerReport:
    """The report of a worker, in the folder `control` of its server; `endpoints` returns what it serves now.

    A worker may get other endpoints while it runs. What the former ones have counted stays in the report. One that
    clients do not reach themselves counts, but is not among the workers that serve.
    """

    def __init__(self, endpoints: Callable[[], Iterable[Endpoint]], control: Path, *, is_reached: bool = True) -> None:
        self._endpoints = endpoints
        self._is_reached = is_reached
        self._path = own_file(control / WORKERS)
        self._counted: dict[int, tuple[str, Metrics]] = {}  # by the identity of the metrics, which live on here
        self._told: dict[str, Any] = {}
        self._told_at = 0.0

    def write(self) -> None:
        """Replace the file, if something has changed or it is time for a heartbeat.

        If the file can't be written, on a full disk for instance, the next call tries again.
        """
        told, now = self._report(), time.time()
        if told == self._told and now - self._told_at < HEARTBEAT_S:
            return
        with contextlib.suppress(OSError):
            replace_file(self._path, told | {"at": now})
            self._told, self._told_at = told, now

    def _report(self) -> dict[str, Any]:
        """Return what the worker serves, and what it has counted, as JSON."""
        endpoints = list(self._endpoints())
        self._counted |= {id(one.metrics): (one.fleet.collection, one.metrics) for one in endpoints}
        return {
            "format": FORMAT,
            "served": [_served(one.fleet) for one in endpoints if self._is_reached],
            "counted": [{"collection": name} | metrics.snapshot() for name, metrics in self._counted.values()],
        }


def _served(fleet: Fleet) -> dict[str, Any]:
    return {
        "collection": fleet.collection,
        "version": fleet.version,
        "num_datasets": fleet.num_datasets,
        "committed_at": seconds_of(fleet.committed_at),
    }


def seconds_of(time_text: str) -> float | None:
    """Return a time of ISO 8601 in seconds since 1970, or None for an empty text."""
    return datetime.fromisoformat(time_text).timestamp() if time_text else None


def every_second(tell: Sequence[Callable[[], object]]) -> None:
    """Start a thread that calls these functions once a second while the process lives."""

    def run() -> None:
        interval = threading.Event()
        while not interval.wait(INTERVAL_S):
            for one in tell:
                one()

    threading.Thread(target=run, name="gridline-metrics", daemon=True).start()
