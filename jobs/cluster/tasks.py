"""Tasks as plain values: what is run, what it came to, and how patient one is with a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from jobs.errors import ClusterError

logger = logging.getLogger(__name__)

REASON_LENGTH = 300
Placement = Literal["pack", "strict_pack", "spread"]


@dataclass(frozen=True)
class Task:
    """A plain function to run, by a key that names it in messages; `arguments` may hold what `Cluster.put` returned.

    With `num_parts` the function returns a summary and then that many parts, which stay in the cluster for other tasks.
    With `saves` it is given one more argument, a `checkpoint_stream.Saves` of what it saved before: `saved`, by name.
    """

    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    num_parts: int = 0
    saves: bool = False
    saved: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a task came to: its value, or the error that ended it; `failures` are the losses on the way.

    Of a task with parts, `value` is the summary and `parts` the references to the parts.
    """

    key: str
    value: Any = None
    parts: tuple[Any, ...] = ()
    error: Exception | None = None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunLimits:
    """How long and how often.

    A task that lost its worker is started again `max_failures` times. A cluster that lacks what a task needs is given
    `wait_for_resources_s` to grow. After `timeout_s` everything is given up; None: never. A long task saves where it is
    every `checkpoint_every_s`.
    """

    max_failures: int = 0
    wait_for_resources_s: float = 0.0
    timeout_s: float | None = None
    checkpoint_every_s: float = 60.0

    @property
    def remedy(self) -> str:
        """What was done about a cluster that is too small, and what can be."""
        if self.wait_for_resources_s:
            return f"waited wait_for_resources_s = {self.wait_for_resources_s:g} s for it to grow"
        return "ask for less, join a larger cluster by --address, or set 'training.wait_for_resources_s' to wait for it"


@dataclass(frozen=True)
class RankGroupSize:
    """How many ranks train a block together, and what each gets.

    `placement`: on few nodes, on one node only, or on many. `use_gpu` auto: where the cluster has enough of them.
    """

    num_workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    use_gpu: bool | Literal["auto"] = False
    placement: Placement = "pack"

    def on(self, num_gpus: float) -> RankGroupSize:
        """Return what it comes to on a cluster with so many GPUs."""
        wanted = self.gpus_per_worker * self.num_workers
        use_gpu = 0 < wanted <= num_gpus if self.use_gpu == "auto" else self.use_gpu
        return replace(self, use_gpu=use_gpu, gpus_per_worker=self.gpus_per_worker if use_gpu else 0.0)


ONE_RANK = RankGroupSize()


@dataclass
class Attempt:
    """A task on its way: what was lost, and what it saved."""

    task: Task
    failures: list[str] = field(default_factory=list)
    saved: dict[str, bytes] = field(default_factory=dict)
    parts: tuple[Any, ...] = ()

    def ended(self, value: Any) -> Outcome:
        """Return the outcome of a task that returned."""
        return Outcome(self.task.key, value, self.parts, failures=tuple(self.failures))

    def failed(self, error: Exception) -> Outcome:
        """Return the outcome of a task that ended by an error."""
        return Outcome(self.task.key, error=error, failures=tuple(self.failures))

    def lost(self, error: Exception, max_failures: int) -> Outcome | None:
        """Note that the worker was lost, by which error; return the outcome if it was once too often."""
        text = " ".join(str(error).split()).removeprefix(f"{type(error).__name__}: ")
        self.failures.append(f"{type(error).__name__}: {text}"[:REASON_LENGTH])
        number = len(self.failures)
        logger.warning("block %s was lost, failure %d: %s", self.task.key, number, self.failures[-1])
        if number <= max_failures:
            return None
        times = "once" if number == 1 else f"{number} times"
        return self.failed(ClusterError(f"block '{self.task.key}' was lost {times}; the last: {self.failures[-1]}"))
