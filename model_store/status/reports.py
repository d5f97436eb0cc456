"""The reports of a server's workers, added up: see handler/hosting/worker_report.py.

Counts of a worker that has ended stay in the sums, so a counter never falls; its gauges, and what it served, vanish.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler.hosting.metrics import REQUESTS
from handler.hosting.worker_report import FORMAT, WORKERS
from model_store.claims.process_identity import start_of

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
COLLECTION = "collection"
ENDED = "gridline_workers_ended_total"


@dataclass(frozen=True)
class Served:
    """What a worker serves; `committed_at` is in seconds since 1970, None if the archive does not tell."""

    collection: str
    version: int
    num_datasets: int
    committed_at: float | None


@dataclass
class HistogramSum:
    """The counts of values below each bound, not added up, and the sum of the values."""

    bounds: Sequence[float]
    counts: list[int]
    sum: float = 0.0

    def add(self, counts: Sequence[int], total: float) -> None:
        self.counts = [mine + more for mine, more in zip(self.counts, counts, strict=True)]
        self.sum += total


@dataclass
class Sums:
    """Counters, gauges and histograms by name and labels, and what is served by how many workers."""

    counters: defaultdict[Series, float] = field(default_factory=lambda: defaultdict(float))
    gauges: defaultdict[Series, float] = field(default_factory=lambda: defaultdict(float))
    histograms: dict[Series, HistogramSum] = field(default_factory=dict)
    num_workers: Counter[Served] = field(default_factory=Counter)

    def add_counts(self, snapshot: Mapping[str, Any], collection: str | None = None) -> None:
        """Add the counters and histograms of a snapshot of metrics."""
        for name, labels, value in snapshot["counters"]:
            self.counters[_series(name, labels, collection)] += value
        for name, labels, one in snapshot["histograms"]:
            series, bounds = _series(name, labels, collection), one["bounds"]
            total = self.histograms.setdefault(series, HistogramSum(bounds, [0] * (len(bounds) + 1)))
            if list(total.bounds) == bounds:  # an archive of another gridline may have others
                total.add(one["counts"], one["sum"])

    def add_state(self, snapshot: Mapping[str, Any], collection: str | None = None) -> None:
        """Add the gauges of a snapshot of metrics."""
        for name, labels, value in snapshot["gauges"]:
            self.gauges[_series(name, labels, collection)] += value

    def num_answers(self, collection: str) -> int:
        """Return how many requests about a collection were answered."""
        return round(sum(v for (name, labels), v in self.counters.items() if (name, labels[:1]) == _of(collection)))


class WorkerReports:
    """The reports in a control folder. Those of processes that have ended are added to the sums once, and removed."""

    def __init__(self, control: Path) -> None:
        self._folder = control / WORKERS
        self._ended = Sums()
        self._added: set[str] = set()  # files that could not be removed
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Remove the reports of an earlier server, whose workers have ended."""
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)

    def read(self) -> Sums:
        """Return the sums of all workers, and the state of those that live."""
        with self._lock:
            live = []
            for path in sorted(self._folder.glob("*.json")):
                has_ended = _has_ended(path)  # asked first: what has ended writes no more
                document = _read(path)
                if document is None:
                    continue
                if not has_ended:
                    live.append(document)
                elif path.name not in self._added:
                    _add_counts(self._ended, document)
                    _add_workers(self._ended, document)
                    self._added.add(path.name)
                    with suppress(OSError):
                        path.unlink()
            sums = Sums()
            sums.counters |= self._ended.counters
            for series, one in self._ended.histograms.items():
                sums.histograms[series] = HistogramSum(one.bounds, list(one.counts), one.sum)
        for document in live:
            _add_counts(sums, document)
            _add_state(sums, document)
        for served in sums.num_workers:  # of removed versions there would be more and more series
            labels = ((COLLECTION, served.collection), ("version", str(served.version)))
            sums.counters[ENDED, labels] = self._ended.num_workers[served]
        return sums


def _add_counts(sums: Sums, document: Mapping[str, Any]) -> None:
    for one in document["counted"]:
        sums.add_counts(one, one[COLLECTION])


def _add_state(sums: Sums, document: Mapping[str, Any]) -> None:
    for one in document["counted"]:
        sums.add_state(one, one[COLLECTION])
    _add_workers(sums, document)


def _add_workers(sums: Sums, document: Mapping[str, Any]) -> None:
    for one in document["served"]:
        sums.num_workers[Served(**one)] += 1


def _series(name: str, labels: Mapping[str, str], collection: str | None) -> Series:
    first = {} if collection is None else {COLLECTION: collection}
    return name, tuple({**first, **labels}.items())


def _of(collection: str) -> Series:
    return REQUESTS, ((COLLECTION, collection),)


def _has_ended(path: Path) -> bool:
    """Return whether the process of a report is gone, or another one has got its id."""
    pid, _, start = path.stem.partition("-")
    return not pid.isdecimal() or (start_of(int(pid)) or "0") != start


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return a report, or None for one that is gone or of a newer gridline."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return document if document.get("format", 0) <= FORMAT else None
