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

from ..answers.answering import Answer

FLUSH_INTERVAL_S = 1.0
LOGGER = "gridline.metrics"


class WorkerMetrics:
    """Sums since the last flush: requests, rows, extrapolations, microseconds, and refused requests by reason."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._lock = threading.Lock()
        self._sums: Counter[tuple[str, str]] = Counter()  # by metric and dimensions
        logging.getLogger(LOGGER).setLevel(logging.INFO)  # independent of the level of other loggers

    def start(self) -> None:
        """Start a thread that flushes every second."""
        threading.Thread(target=self._flush_for_ever, name="gridline-metrics", daemon=True).start()

    def count(self, answers: Sequence[Answer], elapsed_s: float) -> None:
        """Add the answers of one batch."""
        with self._lock:
            sums = self._sums
            sums["GridlineRequests.Count", ""] += len(answers)
            sums["GridlineInferenceMicroseconds.Microseconds", ""] += round(elapsed_s * 1e6)
            for one in answers:
                sums["GridlineRows.Count", ""] += one.num_rows
                sums["GridlineExtrapolations.Count", ""] += one.num_extrapolations
                if one.reason is not None:
                    sums["GridlineBadRequests.Count", f"Reason:{one.reason},"] += 1

    def flush(self) -> list[str]:
        """Print the sums in TorchServe's format, reset them, and return the lines."""
        with self._lock:
            sums, self._sums = self._sums, Counter()
        where = f"hostname:{socket.gethostname()},{int(time.time())}"
        lines = [  # as ts/metrics/caching_metric.py prints them
            f"[METRICS]{metric}:{value}|#{dimensions}ModelName:{self._model_name},Level:Model|#type:COUNTER|#{where}"
            for (metric, dimensions), value in sums.items()
            if value
        ]
        for line in lines:
            logging.getLogger(LOGGER).info(line)
        return lines

    def _flush_for_ever(self) -> None:
        interval = threading.Event()
        while not interval.wait(FLUSH_INTERVAL_S):
            self.flush()
