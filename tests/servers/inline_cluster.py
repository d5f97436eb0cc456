"""A cluster without Ray: tasks run in this process, one after the other; what is lost, and when, is up to the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from jobs.cluster.checkpoint_stream import Saved, Told, stream
from jobs.cluster.tasks import Attempt, Outcome, RunLimits, Task
from jobs.errors import JobError


@dataclass
class InlineCluster:
    """`before` is called ahead of each task with its number, from 1, and may raise what a cluster would."""

    before: Callable[[int], None] = lambda number: None
    num_cpus: int = 2
    num_joined: int = 0
    num_tasks: int = 0
    node_bytes: int | None = None
    lost: tuple[type[Exception], ...] = ()
    keys: list[str] = field(default_factory=list)
    on_ended: Callable[[Outcome], None] = lambda outcome: None
    on_told: Callable[[str, Told], None] = lambda key, told: None

    @contextmanager
    def connect(
        self, address: str | None = None, on_ended: Callable[[Outcome], None] = lambda outcome: None
    ) -> Iterator[InlineCluster]:
        """Stand in for `jobs.cluster.ray_cluster.connect`."""
        self.on_ended = on_ended
        self.num_joined += 1
        yield self

    @property
    def resources(self) -> dict[str, float]:
        return {"CPU": float(self.num_cpus), "GPU": 0.0}

    def put(self, value: Any) -> Any:
        return value

    def run(
        self,
        tasks: Sequence[Task],
        limits: RunLimits | None = None,
        on_saved: Callable[[Saved], None] = lambda saved: None,
        on_told: Callable[[str, Told], None] = lambda key, told: None,
    ) -> Iterator[Outcome]:
        self.on_told = on_told
        for task in tasks:
            outcome = self._tried(Attempt(task, saved=dict(task.saved)), limits or RunLimits(), on_saved)
            self.on_ended(outcome)
            yield outcome

    def _tried(self, attempt: Attempt, limits: RunLimits, on_saved: Callable[[Saved], None]) -> Outcome:
        while True:
            try:
                return attempt.ended(self._run(attempt, on_saved))
            except self.lost as exc:
                if (outcome := attempt.lost(exc, limits.max_failures)) is not None:
                    return outcome
            except (ValueError, JobError) as exc:
                return attempt.failed(exc)

    def _run(self, attempt: Attempt, on_saved: Callable[[Saved], None]) -> Any:
        self.num_tasks += 1
        self.keys.append(attempt.task.key)
        self.before(self.num_tasks)
        if attempt.task.num_parts:
            value, *parts = attempt.task.function(*attempt.task.arguments)
            attempt.parts = tuple(parts)
            return value
        if not attempt.task.saves:
            return attempt.task.function(*attempt.task.arguments)
        for item in stream(attempt.task.function, attempt.task.arguments, attempt.saved):
            if isinstance(item, Saved):
                attempt.saved[item.name] = item.data
                on_saved(item)
            if isinstance(item, Told):
                self.on_told(attempt.task.key, item)
        return item


@pytest.fixture
def inline_cluster(monkeypatch: pytest.MonkeyPatch) -> InlineCluster:
    """The cluster that jobs of this test train on."""
    cluster = InlineCluster()
    monkeypatch.setattr("jobs.cluster.ray_cluster.connect", cluster.connect)
    return cluster
