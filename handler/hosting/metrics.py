"""The counters, gauges and histograms of a process: counted in memory, and read by other threads.

Names follow Prometheus: a counter ends in `_total`, times are in seconds. docs/monitoring.md lists them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from ..answers.answering import Answer

BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
OUTCOMES = {200: "ok", 404: "not_found"}
BAD_REQUEST, UNAVAILABLE = "bad_request", "unavailable"  # below 500, and above
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
OF_BUSY, OF_ROWS, OF_EXTRAPOLATIONS = ((name, ()) for name in (BUSY_SECONDS, ROWS, EXTRAPOLATIONS))
OF_OUTCOME = {
    one: ((REQUESTS, (("outcome", one),)), (SECONDS, (("outcome", one),)))
    for one in (*OUTCOMES.values(), BAD_REQUEST, UNAVAILABLE)
}


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
        self.add_up([((name, _sorted(labels)), value)], ())

    def add(self, name: str, value: float, **labels: str) -> None:
        """Add to a gauge, which may fall."""
        series = (name, _sorted(labels))
        with self._lock:
            self._gauges[series] = self._gauges.get(series, 0) + value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram, whose bounds are those of times in seconds."""
        self.add_up((), [((name, _sorted(labels)), value)])

    def add_up(self, counts: Iterable[tuple[Series, float]], times: Iterable[tuple[Series, float]]) -> None:
        """Add to several counters, and several values in seconds to histograms, at once."""
        counters, histograms = self._counters, self._histograms
        with self._lock:
            for series, value in counts:
                counters[series] = counters.get(series, 0) + value
            for series, value in times:
                histogram = histograms.get(series)
                if histogram is None:
                    histogram = histograms[series] = Histogram()
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
    for outcome in OF_OUTCOME:
        metrics.count(REQUESTS, 0, outcome=outcome)
    for reason in REASONS:
        metrics.count(REFUSALS, 0, reason=reason)
    return metrics


def count_answers(metrics: Metrics, answers: Sequence[Answer], elapsed_s: float) -> None:
    """Count the answers of a batch, which took `elapsed_s`, and so did each of them."""
    counts: list[tuple[Series, float]] = [(OF_BUSY, elapsed_s)]
    times: list[tuple[Series, float]] = []
    for one in answers:
        requests, seconds = OF_OUTCOME[outcome_of(one.status)]
        counts.append((requests, 1))
        times.append((seconds, elapsed_s))
        if one.num_rows:
            counts.append((OF_ROWS, one.num_rows))
        if one.num_extrapolations:
            counts.append((OF_EXTRAPOLATIONS, one.num_extrapolations))
        if one.reason is not None:
            counts.append(((REFUSALS, (("reason", one.reason),)), 1))
    metrics.add_up(counts, times)


def _sorted(labels: dict[str, str]) -> Labels:
    return tuple(labels.items()) if len(labels) < 2 else tuple(sorted(labels.items()))


def outcome_of(status: int) -> str:
    """Return the outcome of an answer with this HTTP status, a label of few values."""
    return OUTCOMES.get(status) or (BAD_REQUEST if status < 500 else UNAVAILABLE)
