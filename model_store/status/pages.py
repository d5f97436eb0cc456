"""The pages of the status port: /livez, /readyz and /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from handler.hosting.metrics import Metrics
from model_store.deployment.errors import ServerError
from model_store.serving.control import is_refusing
from model_store.status.control_state import add_control
from model_store.status.example_probe import ExampleProbe
from model_store.status.exposition import CONTENT_TYPE, exposition
from model_store.status.port import Page
from model_store.status.reports import COLLECTION, Served, Sums, WorkerReports

OK, UNAVAILABLE = 200, 503


@dataclass
class State:
    """What gridline is doing with the server, if it does not just serve: `starting`, or `restarting`."""

    doing: str | None = "starting"


class Status:
    """The pages of a server. `control` is its control folder, and `metrics` has what gridline itself counts.

    `front_end` returns metrics of the server's own, as text of Prometheus.
    """

    def __init__(
        self, control: Path, state: State, probe: ExampleProbe, metrics: Metrics, front_end: Callable[[], str]
    ) -> None:
        self._control = control
        self._state = state
        self._probe = probe
        self._metrics = metrics
        self._front_end = front_end
        self._started_at = time.time()
        self.reports = WorkerReports(control)

    def pages(self) -> Mapping[str, Callable[[], Page]]:
        """Return the function that makes each page."""
        return {"/livez": self.live, "/readyz": self.ready, "/metrics": self.numbers}

    def live(self) -> Page:
        """Return 200 while the server's management answers, or gridline is starting the server."""
        if self._state.doing is not None:
            return Page(OK, f"{self._state.doing}\n")
        try:
            self._probe.collections()
        except ServerError as exc:
            return _unavailable(str(exc))
        return Page(OK, "ok\n")

    def ready(self) -> Page:
        """Return 200 if every collection answers its example, and the server is not about to end."""
        problem = self._state.doing or ("draining" if is_refusing(self._control) else None)
        try:
            answers = {} if problem else self._probe.ask()
        except ServerError as exc:
            return _unavailable(str(exc))
        if problem or not answers:
            return _unavailable(problem or "no collection is deployed")
        problems = [f"collection '{name}': {one.problem}" for name, one in answers.items() if one.problem]
        return _unavailable(problems[0]) if problems else Page(OK, "ok\n")

    def numbers(self) -> Page:
        """Return the metrics of the server, of its workers and of gridline, as far as they can be had."""
        sums = self.reports.read()
        sums.add_counts(self._metrics.snapshot())
        self._add_state(sums)
        add_control(sums, self._control)
        return Page(OK, exposition(sums) + self._front_end(), CONTENT_TYPE)

    def _add_state(self, sums: Sums) -> None:
        """Add what the server answers now, and what its workers say that they serve."""
        try:
            answers = self._probe.ask()
            sums.gauges["gridline_up", ()] = 1
        except ServerError:
            answers = {}
            sums.gauges["gridline_up", ()] = 0
        sums.gauges["gridline_draining", ()] = int(is_refusing(self._control))
        sums.gauges["gridline_start_timestamp_seconds", ()] = self._started_at
        for one, number in sums.num_workers.items():
            labels = ((COLLECTION, one.collection), ("version", str(one.version)))
            sums.gauges["gridline_workers", labels] += number
        for name, answered in answers.items():
            sums.gauges["gridline_ready", ((COLLECTION, name),)] = int(answered.problem is None)
            version = self._default(name) if answered.problem is None else None
            if version is not None:
                _add_served(sums, name, version)

    def _default(self, collection: str) -> int | None:
        """Return the version that requests without one get: a canary may have answered the example."""
        try:
            version = self._probe.default_version(collection)
        except ServerError:
            return None
        return int(version) if version is not None and version.isdecimal() else None


def _unavailable(problem: str) -> Page:
    return Page(UNAVAILABLE, f"{' '.join(problem.split())}\n")


def _add_served(sums: Sums, collection: str, version: int) -> None:
    labels = ((COLLECTION, collection),)
    sums.gauges["gridline_served_version", labels] = version
    served = _served(sums, collection, version)
    if served is None:
        return
    sums.gauges["gridline_datasets", labels] = served.num_datasets
    if served.committed_at is not None:
        sums.gauges["gridline_served_version_commit_timestamp_seconds", labels] = served.committed_at
        sums.gauges["gridline_served_version_age_seconds", labels] = time.time() - served.committed_at


def _served(sums: Sums, collection: str, version: int) -> Served | None:
    same = (one for one in sums.num_workers if (one.collection, one.version) == (collection, version))
    return next(same, None)
