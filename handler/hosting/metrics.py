"""The counters, gauges and histograms of a process: counted in memory, and read by other threads.

Names follow Prometheus: a counter ends in `_total`, times are in seconds. docs/monitoring.md lists them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from ..answers.answering import Answer

BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
OUTCOMES = {200: "ok", 404: "not_found"}
OTHER_OUTCOMES = ("bad_request", "unavailable")
UNAVAILABLE = 500  # and above
REASONS = ("payload", "value", "dataset")  # handler/errors.py

REQUESTS = "gridline_requests_total"
SECONDS = "gridline_request_seconds"
ROWS = "gridline_rows_total"
EXTRAPOLATIONS = "gridline_extrapolations_total"
REFUSALS = "gridline_bad_requests_total"
BUSY_SECONDS = "gridline_busy_seconds_total"
IN_FLIGHT = "gridline_requests_in_flight"

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]


class Histogram:
    """How many values lie below each bound, not added up, and their sum; the last count is of those beyond."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BOUNDS_S, value)] += 1
        self.sum += value


class Metrics:
    """The metrics of a process by name and labels. Every method may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[Series, float] = {}
        self._gauges: dict[Series, float] = {}
        self._histograms: dict[Series, Histogram] = {}

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        series = (name, _sorted(labels))
        with self._lock:
            self._counters[series] = self._counters.get(series, 0) + value

    def add(self, name: str, value: float, **labels: str) -> None:
        """Add to a gauge, which may fall."""
        series = (name, _sorted(labels))
        with self._lock:
            self._gauges[series] = self._gauges.get(series, 0) + value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram, whose bounds are those of times in seconds."""
        series = (name, _sorted(labels))
        with self._lock:
            histogram = self._histograms.get(series)
            if histogram is None:
                histogram = self._histograms[series] = Histogram()
            histogram.observe(value)

    def snapshot(self) -> dict[str, list[Any]]:
        """Return all series as JSON: lists of a name, labels and a value; the counts of a histogram add up to it."""
        with self._lock:
            histograms = [
                [name, dict(labels), {"bounds": list(BOUNDS_S), "counts": list(one.counts), "sum": one.sum}]
                for (name, labels), one in self._histograms.items()
            ]
            counters = [[name, dict(labels), value] for (name, labels), value in self._counters.items()]
            gauges = [[name, dict(labels), value] for (name, labels), value in self._gauges.items()]
        return {"counters": counters, "gauges": gauges, "histograms": histograms}


def metrics_of_endpoint() -> Metrics:
    """Return metrics whose counters start at 0: of one that appears with its first count, Prometheus sees no growth."""
    metrics = Metrics()
    for name in (ROWS, EXTRAPOLATIONS, BUSY_SECONDS):
        metrics.count(name, 0)
    for outcome in (*OUTCOMES.values(), *OTHER_OUTCOMES):
        metrics.count(REQUESTS, 0, outcome=outcome)
    for reason in REASONS:
        metrics.count(REFUSALS, 0, reason=reason)
    return metrics


def count_answers(metrics: Metrics, answers: Sequence[Answer], elapsed_s: float) -> None:
    """Count the answers of a batch, which took `elapsed_s`, and so did each of them."""
    metrics.count(BUSY_SECONDS, elapsed_s)
    for one in answers:
        outcome = outcome_of(one.status)
        metrics.count(REQUESTS, outcome=outcome)
        metrics.observe(SECONDS, elapsed_s, outcome=outcome)
        if one.num_rows:
            metrics.count(ROWS, one.num_rows)
        if one.num_extrapolations:
            metrics.count(EXTRAPOLATIONS, one.num_extrapolations)
        if one.reason is not None:
            metrics.count(REFUSALS, reason=one.reason)


def _sorted(labels: dict[str, str]) -> Labels:
    return tuple(labels.items()) if len(labels) < 2 else tuple(sorted(labels.items()))


def outcome_of(status: int) -> str:
    """Return the outcome of an answer with this HTTP status, a label of few values."""
    return OUTCOMES.get(status) or ("bad_request" if status < UNAVAILABLE else "unavailable")
