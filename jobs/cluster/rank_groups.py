"""Tasks that several ranks run together, one after the other: which is under way, what was lost, and who waits.

One trainer runs all tasks of a job, so that its start (many seconds) is paid once. A rank that is lost takes the gang
down, and costs the task under way one of its tries; another gang goes on with the rest.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.cluster.capacity import rank_group_shortage
from jobs.cluster.checkpoint_stream import Saved
from jobs.cluster.ray_cluster import NODE_LOSS_S, Cluster, OnSaved, live_nodes
from jobs.cluster.ray_train import Trainer, started
from jobs.cluster.tasks import Attempt, Outcome, RankGroupSize, RunLimits, Task
from jobs.errors import ClusterError

POLL_S = 0.5


@dataclass(frozen=True)
class RankGroupRunner:
    """A cluster whose tasks are run by several ranks together: the functions get `ranks` as one more argument."""

    cluster: Cluster
    size: RankGroupSize

    def put(self, value: Any) -> Any:
        """Return a reference to a value that all ranks read."""
        return self.cluster.put(value)

    def run(
        self, tasks: Sequence[Task], limits: RunLimits | None = None, on_saved: OnSaved | None = None
    ) -> Iterator[Outcome]:
        """Yield what each task came to, in order. Raises ClusterError if the ranks can never fit the cluster."""
        run = _Run(self.cluster.address, self.size, limits or RunLimits(), on_saved or (lambda _: None))
        run.require_room()
        run.waiting.extend(Attempt(task, saved=dict(task.saved)) for task in tasks)
        yield from run.outcomes()


@dataclass
class _Run:
    """Tasks that wait for their turn, the first of them under way."""

    address: str
    size: RankGroupSize
    limits: RunLimits
    on_saved: OnSaved
    waiting: deque[Attempt] = field(default_factory=deque)
    started_at: float = field(default_factory=time.monotonic)
    unschedulable_since: float | None = None

    def require_room(self) -> None:
        """Wait, as long as the limits say, until the cluster has room for the ranks. Raises ClusterError."""
        deadline = time.monotonic() + self.limits.wait_for_resources_s
        while (short := rank_group_shortage(self.size, live_nodes())) is not None:
            if time.monotonic() >= deadline:
                raise ClusterError(f"{short} at '{self.address}'; {self.limits.remedy}")
            time.sleep(POLL_S)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes, of as many gangs as it takes."""
        while self.waiting:
            tasks = [replace(attempt.task, saved=attempt.saved) for attempt in self.waiting]
            with started(tasks, self.size, self.address) as trainer:
                yield from self._heard_from(trainer)

    def _heard_from(self, trainer: Trainer) -> Iterator[Outcome]:
        """Yield the outcomes of a gang, until it ends or all its work is done."""
        while self.waiting:
            failure = trainer.failure()
            for item in trainer.new_messages():
                if isinstance(item, Saved):
                    self.waiting[0].saved[item.name] = item.data
                    self.on_saved(item)
                else:
                    yield replace(item, failures=tuple(self.waiting.popleft().failures))
            if failure is not None:
                yield from self._lost(failure)
                return
            if (short := self._unschedulable()) is not None:
                trainer.interrupt()
                yield from self._given_up(f"{short} at '{self.address}'; nodes were lost; {self.limits.remedy}")
            self._give_up_in_time()

    def _lost(self, failure: Exception) -> Iterator[Outcome]:
        """Note that the block under way was lost with its gang; yield its outcome if that was once too often."""
        if self.waiting:
            outcome = self.waiting[0].lost(failure, self.limits.max_failures)
            if outcome is not None:
                self.waiting.popleft()
                yield outcome

    def _unschedulable(self) -> str | None:
        """Return what the ranks need and what there is, if for too long no nodes have had room for them."""
        short, now = rank_group_shortage(self.size, live_nodes()), time.monotonic()
        self.unschedulable_since = None if short is None else self.unschedulable_since or now
        wait_s = max(NODE_LOSS_S, self.limits.wait_for_resources_s)
        return short if self.unschedulable_since is not None and now - self.unschedulable_since > wait_s else None

    def _given_up(self, reason: str) -> Iterator[Outcome]:
        while self.waiting:
            yield self.waiting.popleft().failed(ClusterError(reason))

    def _give_up_in_time(self) -> None:
        limit_s = self.limits.timeout_s
        if limit_s is not None and time.monotonic() - self.started_at > limit_s and self.waiting:
            raise ClusterError(
                f"the cluster at '{self.address}' did not end {len(self.waiting)} blocks in timeout_s = {limit_s:g} s; "
                "what is finished is kept: run again to go on, or set a larger 'training.timeout_s'"
            )
