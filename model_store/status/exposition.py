"""Metrics as Prometheus reads them. docs/monitoring.md lists each with an example of a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from model_store.status.reports import HistogramSum, Series, Sums

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TOTAL = "_total"
HELP = {
    "gridline_requests": "Requests that were answered.",
    "gridline_request_seconds": "Time to answer a request in a worker, without waiting for one.",
    "gridline_rows": "Rows that got a prediction.",
    "gridline_bad_requests": "Requests that were refused, by the kind of fault of the first wrong row or of the whole.",
    "gridline_extrapolations": "Rows with a value outside the range of training.",
    "gridline_busy_seconds": "Time in which workers answered requests.",
    "gridline_requests_in_flight": "Requests that workers are answering.",
    "gridline_workers": "Worker processes of a version.",
    "gridline_workers_ended": "Worker processes of a version that has workers which have ended.",
    "gridline_served_version": "The version that answers requests that name none.",
    "gridline_served_version_commit_timestamp_seconds": "When the served version was committed.",
    "gridline_served_version_age_seconds": "Seconds since the served version was committed.",
    "gridline_datasets": "Datasets of the served version.",
    "gridline_store_check_age_seconds": "Seconds since `deploy --follow` last looked for a new version.",
    "gridline_store_success_age_seconds": "Seconds since `deploy --follow` last reached the store and the server.",
    "gridline_newest_version": "The newest version that `deploy --follow` has seen in the store.",
    "gridline_held_version": "The version that an operator holds; absent without a hold.",
    "gridline_rejected_version": "The version whose canary or shadow was taken off last.",
    "gridline_rollout_version": "The version of the canary or the shadow that runs.",
    "gridline_rollout_requests": "Requests that the running canary got.",
    "gridline_rollout_errors": "Those that only the new version refused.",
    "gridline_rollout_compared_requests": "Requests that both versions computed.",
    "gridline_rollout_distance_max": "The greatest distance of two predictions, in residual standard deviations.",
    "gridline_disk_size_bytes": "Size of the file system of the server's folder.",
    "gridline_disk_free_bytes": "What of it is free.",
    "gridline_up": "1 if the server's management answers.",
    "gridline_ready": "1 if the collection answers its example.",
    "gridline_draining": "1 if the server refuses requests because it is about to end.",
    "gridline_start_timestamp_seconds": "When `gridline serve` started.",
    "gridline_self_checks": "Examples that gridline asked of its server, by outcome.",
    "gridline_self_check_seconds": "Time to answer the example through the inference port.",
    "gridline_restarts": "Workers or servers that gridline started again because they did not answer.",
}
UNKNOWN = "See docs/monitoring.md."


class _Families(Collector):
    """The families of some sums, for the registry of prometheus_client."""

    def __init__(self, sums: Sums) -> None:
        self._sums = sums

    def collect(self) -> Iterator[Metric]:
        yield from _families(self._sums.counters, "counter")
        yield from _families(self._sums.gauges, "gauge")
        yield from _histograms(self._sums.histograms)


def exposition(sums: Sums) -> str:
    """Return the text of Prometheus for these sums."""
    registry = CollectorRegistry()
    registry.register(_Families(sums))
    return generate_latest(registry).decode()


def _families(values: Mapping[Series, float], kind: str) -> Iterator[Metric]:
    for name, series in _by_name(values):
        family = name.removesuffix(TOTAL) if kind == "counter" else name
        metric = Metric(family, HELP.get(family, UNKNOWN), kind)
        for one in series:
            metric.add_sample(family + TOTAL if kind == "counter" else name, dict(one[1]), values[one])
        yield metric


def _histograms(values: Mapping[Series, HistogramSum]) -> Iterator[Metric]:
    for name, series in _by_name(values):
        metric = Metric(name, HELP.get(name, UNKNOWN), "histogram")
        for one in series:
            labels, histogram = dict(one[1]), values[one]
            totals = list(accumulate(histogram.counts))
            for bound, total in zip([*map(str, histogram.bounds), "+Inf"], totals, strict=True):
                metric.add_sample(f"{name}_bucket", labels | {"le": bound}, total)
            metric.add_sample(f"{name}_count", labels, totals[-1])
            metric.add_sample(f"{name}_sum", labels, histogram.sum)
        yield metric


def _by_name(values: Iterable[Series]) -> Iterator[tuple[str, list[Series]]]:
    """Yield each name with its series: a family has to be in one place."""
    named: dict[str, list[Series]] = {}
    for one in sorted(values):
        named.setdefault(one[0], []).append(one)
    yield from named.items()
