"""The metrics of a worker as TorchServe takes them: lines on its standard output, once a second.

TorchServe reads a line in some 50 µs, so there is none for each request; its own line for each request is suppressed
together with its log. It adds the values of a counter up, so the lines hold what was added since the last ones.
infra/torchserve/metrics.yaml declares these metrics. All of them are counters: TorchServe would go on showing a gauge
of a worker that has ended.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from itertools import accumulate
from typing import Any

from .metrics import BOUNDS_S, BUSY_SECONDS, EXTRAPOLATIONS, REFUSALS, REQUESTS, ROWS, SECONDS, Metrics

LOGGER = "gridline.metrics"
COUNTERS = {
    REQUESTS: "GridlineRequests.Count",
    ROWS: "GridlineRows.Count",
    EXTRAPOLATIONS: "GridlineExtrapolations.Count",
    REFUSALS: "GridlineBadRequests.Count",
}
MICROSECONDS = "GridlineInferenceMicroseconds.Microseconds"
LATENCY = "GridlineLatencyBucket.Count"  # as a histogram of Prometheus has them: a request counts in every wider bound

Sums = Counter[tuple[str, str]]  # by metric and dimensions


class TorchServeMetrics:
    """Prints what the metrics of a worker have grown by since it last did."""

    def __init__(self, metrics: Metrics, model_name: str) -> None:
        self._metrics = metrics
        self._model_name = model_name
        self._told: Sums = Counter()
        logging.getLogger(LOGGER).setLevel(logging.INFO)  # independent of the level of other loggers

    def flush(self) -> list[str]:
        """Print the growth in TorchServe's format, and return the lines."""
        sums = _sums(self._metrics.snapshot())
        growth, self._told = sums - self._told, sums
        where = f"hostname:{socket.gethostname()},{int(time.time())}"
        lines = [  # as ts/metrics/caching_metric.py prints them
            f"[METRICS]{metric}:{value}|#{dimensions}ModelName:{self._model_name},Level:Model|#type:COUNTER|#{where}"
            for (metric, dimensions), value in growth.items()
        ]
        for line in lines:
            logging.getLogger(LOGGER).info(line)
        return lines


def _sums(snapshot: dict[str, list[Any]]) -> Sums:
    sums: Sums = Counter()
    for name, labels, value in snapshot["counters"]:
        if name in COUNTERS:
            reason = f"Reason:{labels['reason']}," if "reason" in labels else ""
            sums[COUNTERS[name], reason] += value
        if name == BUSY_SECONDS:
            sums[MICROSECONDS, ""] += round(value * 1e6)
        if name == REQUESTS:
            sums["GridlineOutcomes.Count", f"Outcome:{labels['outcome']},"] += value
    for name, _, histogram in snapshot["histograms"]:
        if name == SECONDS:
            for bound, count in zip([*BOUNDS_S, "+Inf"], accumulate(histogram["counts"]), strict=True):
                sums[LATENCY, f"le:{bound},"] += count
    return sums
