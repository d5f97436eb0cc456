"""The metrics of a worker: counted in memory, and sent to TorchServe once a second instead of at each request.

TorchServe reads metrics from lines on the standard output of a worker, in some 50 µs a line. Its own line for each
request is suppressed together with its log. infra/torchserve/metrics.yaml declares these metrics.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence

from .answering import Answer

FLUSH_INTERVAL_S = 1.0
LOGGER = "gridline.metrics"


class WorkerMetrics:
    """Sums since the last flush: requests, rows, extrapolations, microseconds, and refused requests by reason."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._lock = threading.Lock()
        self._sums: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        logging.getLogger(LOGGER).setLevel(logging.INFO)  # independent of the level of other loggers

    def start(self) -> None:
        """Start a thread that flushes every second."""
        threading.Thread(target=self._flush_for_ever, name="gridline-metrics", daemon=True).start()

    def count(self, answers: Sequence[Answer], elapsed_s: float) -> None:
        """Add the answers of one batch."""
        with self._lock:
            sums = self._sums
            sums["GridlineRequests.Count"] += len(answers)
            sums["GridlineInferenceMicroseconds.Microseconds"] += round(elapsed_s * 1e6)
            for one in answers:
                sums["GridlineRows.Count"] += one.num_rows
                sums["GridlineExtrapolations.Count"] += one.num_extrapolations
                if one.reason is not None:
                    self._refused[one.reason] += 1

    def flush(self) -> list[str]:
        """Print the sums in TorchServe's format, reset them, and return the lines."""
        with self._lock:
            sums, self._sums = self._sums, Counter()
            refused, self._refused = self._refused, Counter()
        lines = [self._line(metric, value) for metric, value in sums.items() if value]
        lines += [
            self._line("GridlineBadRequests.Count", value, f"Reason:{reason},") for reason, value in refused.items()
        ]
        for line in lines:
            logging.getLogger(LOGGER).info(line)
        return lines

    def _line(self, metric: str, value: int, dimensions: str = "") -> str:
        """Return a line in the format that ts/metrics/caching_metric.py prints."""
        dimensions += f"ModelName:{self._model_name},Level:Model"
        where = f"hostname:{socket.gethostname()},{int(time.time())}"
        return f"[METRICS]{metric}:{value}|#{dimensions}|#type:COUNTER|#{where}"

    def _flush_for_ever(self) -> None:
        interval = threading.Event()
        while not interval.wait(FLUSH_INTERVAL_S):
            self.flush()
