"""Export the metrics of a job when it ends, however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from handler.errors import GridlineError
from jobs.errors import INTERRUPTED
from jobs.monitoring.cost import Prices
from jobs.monitoring.metrics import families
from jobs.monitoring.textfile import write_textfile
from jobs.monitoring.traces import Traces
from jobs.monitoring.watch import Watch
from jobs.reports.job_metrics import JobMetrics, metrics_of
from jobs.reports.outcome import JobOutcome

FAILED = 1


@dataclass(frozen=True)
class Exports:
    """Where the metrics of a job go: a file of node exporter's textfile collector, the URL of a Pushgateway; traces."""

    metrics_file: Path | None = None
    push_gateway: str | None = None
    traces: Traces | None = None

    def export(self, collection: str, watch: Watch, metrics: JobMetrics) -> None:
        """Write and push the metrics, and send the traces; what can't be is logged, and no error."""
        made = families(collection, metrics.samples)
        if self.metrics_file is not None:
            write_textfile(self.metrics_file, collection, made, whole=metrics.whole)
        if self.push_gateway is not None:
            from jobs.monitoring.push import push

            push(self.push_gateway, collection, made, whole=metrics.whole)
        if self.traces is not None:
            of_run = {"gridline.run_id": watch.run_id or "none", "gridline.collection": collection}
            self.traces.export(watch.started_at, time.time(), {**of_run, "gridline.exit_code": metrics.exit_code})


def measured(
    run: Callable[[], JobOutcome], collection: str, watch: Watch, prices: Prices | None, exports: Exports
) -> JobOutcome:
    """Return the outcome of a run with its metrics; export these however it ends.

    Of a job that was skipped nothing is exported: the run that is under way will.
    """
    if exports.traces is not None:
        watch.on_span = exports.traces.spans.append
    try:
        outcome = run()
    except BaseException as exc:
        exports.export(collection, watch, metrics_of(watch, _exit_code(exc), None, prices))
        raise
    if outcome.skipped is not None:
        return outcome
    metrics = metrics_of(watch, outcome.exit_code, outcome, prices)
    exports.export(collection, watch, metrics)
    return replace(outcome, measured=metrics.to_json())


def _exit_code(error: BaseException) -> int:
    """Return the exit code of the command line for an error of a job."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, GridlineError) else FAILED
