"""Run a queue of tasks on a rank group; restart the group when a rank dies, up to max_failures for each task.

One trainer runs all tasks of a job, so that it starts only once (many seconds). If a rank is lost, its rank group ends,
the running task has one attempt less, and a new rank group continues with the other tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.cluster.capacity import rank_group_shortage
from jobs.cluster.checkpoint_stream import Saved, Told
from jobs.cluster.deadlines import Deadlines
from jobs.cluster.ray_cluster import Cluster, OnSaved, OnTold, live_nodes
from jobs.cluster.ray_train import Trainer, started
from jobs.cluster.tasks import Attempt, Outcome, RankGroupSize, RunLimits, Task


@dataclass(frozen=True)
class RankGroupRunner:
    """A cluster on which several ranks run each task together; its function gets the argument `ranks`."""

    cluster: Cluster
    size: RankGroupSize

    def put(self, value: Any) -> Any:
        """Return a reference to a value that all ranks read."""
        return self.cluster.put(value)

    def run(
        self,
        tasks: Sequence[Task],
        limits: RunLimits | None = None,
        on_saved: OnSaved | None = None,
        on_told: OnTold | None = None,
    ) -> Iterator[Outcome]:
        """Yield the outcome of each task, in order. Raises ClusterError if the ranks can never fit the cluster."""
        deadlines = Deadlines(self.cluster.address, limits or RunLimits())
        waiting = deque(Attempt(task, saved=dict(task.saved)) for task in tasks)
        run = _Run(deadlines, self.size, on_saved or (lambda _: None), on_told or (lambda *_: None), waiting)
        deadlines.require_room(run.shortage)
        for outcome in run.outcomes():
            self.cluster.on_ended(outcome)
            yield outcome


@dataclass
class _Run:
    """The unfinished tasks; a rank group runs the first."""

    deadlines: Deadlines
    size: RankGroupSize
    on_saved: OnSaved
    on_told: OnTold
    waiting: deque[Attempt]

    def shortage(self) -> str | None:
        """Return what the ranks need and what there is, or None if there is room for all."""
        return rank_group_shortage(self.size, live_nodes())

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes; a lost rank group is followed by another."""
        while self.waiting:
            tasks = [replace(attempt.task, saved=attempt.saved) for attempt in self.waiting]
            with started(tasks, self.size, self.deadlines.address) as trainer:
                yield from self._outcomes_of(trainer)

    def _outcomes_of(self, trainer: Trainer) -> Iterator[Outcome]:
        """Yield the outcomes of a rank group, until it ends or no task is left."""
        while self.waiting:
            failure = trainer.failure()
            for item in trainer.new_messages():
                if isinstance(item, Told):
                    self.on_told(self.waiting[0].task.key, item)
                elif isinstance(item, Saved):
                    self.waiting[0].saved[item.name] = item.data
                    self.on_saved(item)
                else:
                    yield replace(item, failures=tuple(self.waiting.popleft().failures))
            if failure is not None:
                yield from self._lost(failure)
                return
            if (error := self.deadlines.given_up("ranks", self.shortage())) is not None:
                trainer.interrupt()
                while self.waiting:
                    yield self.waiting.popleft().failed(error)
            self.deadlines.require_time(len(self.waiting))

    def _lost(self, failure: Exception) -> Iterator[Outcome]:
        """Record that the running task was lost with its rank group; yield its outcome if it is not started again."""
        if self.waiting:
            outcome = self.waiting[0].lost(failure, self.deadlines.limits.max_failures)
            if outcome is not None:
                self.waiting.popleft()
                yield outcome
