"""A job while it runs, in numbers: seconds of each phase, tasks, rows, requests to the store, CPU seconds.

Only the driver's main thread writes here. A number costs a dictionary's entry, a phase two readings of a clock.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from jobs.cluster.tasks import Outcome
from model_store.objects.traffic import TRAFFIC, Counts


@dataclass(frozen=True)
class Span:
    """Something that took time: a phase of the job, or a task; times are seconds since the epoch."""

    name: str
    started_at: float
    ended_at: float
    task: str | None = None
    cpu_s: float = 0.0
    failures: int = 0
    error: bool = False


def _drop(span: Span) -> None:
    """Forget a span: nobody wants traces."""


@dataclass
class Watch:
    """The numbers of one execution of a job.

    A phase within another stops its clock: the seconds of all phases together are at most the duration. `on_span` gets
    each phase and each task when it has ended.
    """

    on_span: Callable[[Span], None] = _drop
    run_id: str | None = None
    started_at: float = field(default_factory=time.time)
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    phase_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _phases: list[str] = field(default_factory=list)
    _changed_at: float = field(default_factory=time.monotonic)
    _began: float = field(default_factory=time.monotonic)
    _cpu_before_s: float = field(default_factory=time.process_time)
    _traffic_before: Counts = field(default_factory=TRAFFIC.counts)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase."""
        self._turn()
        self._phases.append(name)
        started_at, error = time.time(), True
        try:
            yield
            error = False
        finally:
            self._turn()
            self._phases.pop()
            self.on_span(Span(name, started_at, time.time(), error=error))

    def _turn(self) -> None:
        """Give the time since the last change to the phase that ran, if any."""
        now = time.monotonic()
        if self._phases:
            self.phase_s[self._phases[-1]] += now - self._changed_at
        self._changed_at = now

    def count(self, name: str, number: float = 1) -> None:
        """Add to a number."""
        self.counts[name] += number

    def ended(self, outcome: Outcome) -> None:
        """Count a task that has ended, its CPU seconds and its lost attempts."""
        self.counts["tasks"] += 1
        self.counts["lost_tasks"] += len(outcome.failures)
        if (used := outcome.usage) is None:
            return
        self.counts["worker_cpu_s"] += used.cpu_s
        phase = self._phases[-1] if self._phases else "task"
        self.on_span(Span(phase, used.started_at, used.ended_at, outcome.key, used.cpu_s, len(outcome.failures)))

    @property
    def duration_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def driver_cpu_s(self) -> float:
        """CPU seconds of this process since the start."""
        return time.process_time() - self._cpu_before_s

    def traffic(self) -> Counts:
        """Return the requests to S3 since the start, of this process."""
        return TRAFFIC.counts().since(self._traffic_before)
