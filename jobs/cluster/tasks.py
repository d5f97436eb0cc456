"""Dataclasses that describe work: tasks, their outcomes, and the limits of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from jobs.cluster.usage import Usage, Used
from jobs.errors import ClusterError, one_line

logger = logging.getLogger(__name__)

REASON_LENGTH = 300
OUT_OF_MEMORY = (
    "the node had no memory left: set a lower 'training.memory_mb', or a 'min_count' for features with many levels, or "
    "use nodes with more memory"
)
Placement = Literal["pack", "strict_pack", "spread"]


@dataclass(frozen=True)
class Task:
    """A call of a plain function, with a key for messages; `arguments` may be references from `Cluster.put`.

    With `num_parts` the function returns a summary and that many parts, which stay in the cluster for other tasks.
    A node runs no more tasks at once than it has `memory_bytes` for; one that wants more than any node has runs alone.
    With `saves` it gets one more argument, a `checkpoint_stream.Saves` with the checkpoints in `saved`, by name.
    """

    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    num_parts: int = 0
    memory_bytes: int = 0
    saves: bool = False
    saved: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task: its value or its error; `failures` are the errors of lost attempts.

    If the task has parts, `value` is the summary, and `parts` are references to the parts. `usage` is that of the last
    attempt, if it returned.
    """

    key: str
    value: Any = None
    parts: tuple[Any, ...] = ()
    error: Exception | None = None
    failures: tuple[str, ...] = ()
    usage: Usage | None = field(default=None, compare=False)


@dataclass(frozen=True)
class RunLimits:
    """The limits of a run.

    A task that lost its worker is started again up to `max_failures` times. If no node can run a task, the run waits
    `wait_for_resources_s` for the cluster to grow. After `timeout_s` the run ends (None: no limit). A long task saves a
    training checkpoint every `checkpoint_every_s`.
    """

    max_failures: int = 0
    wait_for_resources_s: float = 0.0
    timeout_s: float | None = None
    checkpoint_every_s: float = 60.0

    @property
    def remedy(self) -> str:
        """The end of a message about a too small cluster: the wait, or what the user can do."""
        if self.wait_for_resources_s:
            return f"waited wait_for_resources_s = {self.wait_for_resources_s:g} s for it to grow"
        return "ask for less, join a larger cluster by --address, or set 'training.wait_for_resources_s' to wait for it"


@dataclass(frozen=True)
class RankGroupSize:
    """The number of ranks that train a block together, and the CPUs and GPUs of each.

    `placement`: few nodes, one node, or many nodes. `use_gpu` auto: if the cluster has enough GPUs.
    """

    num_workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    use_gpu: bool | Literal["auto"] = False
    placement: Placement = "pack"

    def on(self, num_gpus: float) -> RankGroupSize:
        """Return the size for a cluster with `num_gpus` GPUs: `use_gpu` is no longer auto."""
        wanted = self.gpus_per_worker * self.num_workers
        use_gpu = 0 < wanted <= num_gpus if self.use_gpu == "auto" else self.use_gpu
        return replace(self, use_gpu=use_gpu, gpus_per_worker=self.gpus_per_worker if use_gpu else 0.0)


ONE_RANK = RankGroupSize()


@dataclass
class Attempt:
    """A task that has not ended: its lost attempts and its checkpoints."""

    task: Task
    failures: list[str] = field(default_factory=list)
    saved: dict[str, bytes] = field(default_factory=dict)
    parts: tuple[Any, ...] = ()

    def ended(self, value: Any) -> Outcome:
        """Return the outcome of a task that returned a value, alone or with its usage."""
        usage = value.usage if isinstance(value, Used) else None
        value = value.value if isinstance(value, Used) else value
        return Outcome(self.task.key, value, self.parts, failures=tuple(self.failures), usage=usage)

    def failed(self, error: Exception) -> Outcome:
        """Return the outcome of a task that ended by an error."""
        return Outcome(self.task.key, error=error, failures=tuple(self.failures))

    def lost(self, error: Exception, max_failures: int) -> Outcome | None:
        """Record that the worker was lost; return the outcome if that was more than `max_failures` times."""
        kind = type(error).__name__
        text = OUT_OF_MEMORY if kind == "OutOfMemoryError" else one_line(error).removeprefix(f"{kind}: ")
        self.failures.append(f"{kind}: {text}"[:REASON_LENGTH])
        number = len(self.failures)
        logger.warning("block %s was lost, failure %d: %s", self.task.key, number, self.failures[-1])
        if number <= max_failures:
            return None
        times = "once" if number == 1 else f"{number} times"
        return self.failed(ClusterError(f"block '{self.task.key}' was lost {times}; the last: {self.failures[-1]}"))
