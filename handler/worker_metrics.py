"""The metrics of a worker: counted in memory, and handed to TorchServe once a second rather than at each request.

TorchServe reads metrics as lines on the standard output of a worker, at some 50 µs a line; its own `PredictionTime`
would be one line a request, and is left out in favour of the sums here. infra/torchserve/metrics.yaml declares them.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .answering import Answer

FLUSH_INTERVAL_S = 1.0
EMITTER = "ts.metrics.caching_metric"
LEFT_OUT = "[METRICS]PredictionTime."
BAD_REQUESTS = "GridlineBadRequests"


class WorkerMetrics:
    """Sums since the last flush, by the name of the metric and the reason of a refusal."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._sums: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, sink: Any) -> WorkerMetrics:
        """Return metrics that are flushed into TorchServe's cache of metrics every second, for as long as it runs."""
        emitter = logging.getLogger(EMITTER)
        emitter.setLevel(logging.INFO)
        emitter.addFilter(lambda record: not record.getMessage().startswith(LEFT_OUT))
        metrics = cls(sink)
        threading.Thread(target=metrics._flush_for_ever, name="gridline-metrics", daemon=True).start()
        return metrics

    def count(self, answers: Sequence[Answer], elapsed_s: float) -> None:
        """Add the answers of one batch."""
        with self._lock:
            self._sums["GridlineRequests", ""] += len(answers)
            self._sums["GridlineRows", ""] += sum(one.num_rows for one in answers)
            self._sums["GridlineExtrapolations", ""] += sum(one.num_extrapolations for one in answers)
            self._sums["GridlineInferenceMicroseconds", ""] += round(elapsed_s * 1e6)
            for one in answers:
                if one.reason is not None:
                    self._sums[BAD_REQUESTS, one.reason] += 1

    def flush(self) -> None:
        """Hand the sums to TorchServe, and begin anew."""
        with self._lock:
            sums, self._sums = self._sums, Counter()
        for (name, reason), value in sums.items():
            if value:
                metric = self._sink.get_metric(name)
                dimensions = [self._sink.model_name, "Model"]
                metric.add_or_update(value, [reason, *dimensions] if reason else dimensions)

    def _flush_for_ever(self) -> None:
        interval = threading.Event()
        while not interval.wait(FLUSH_INTERVAL_S):
            self.flush()
