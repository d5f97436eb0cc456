"""Join or start a Ray cluster, and run plain functions on it.

Only this module and `ray_train` import ray. A task is a function of the package with its arguments. If its worker or
node is lost, or runs out of memory, the task is started again; an error that the function raises is its outcome.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from jobs.cluster.capacity import Node, largest_bytes, memory_options, nodes_of, shortage
from jobs.cluster.checkpoint_stream import Saved, Saves, Told, stream
from jobs.cluster.deadlines import POLL_S, Deadlines
from jobs.cluster.joining import is_client, no_cluster, own_packages, require_access, sigterm_kept
from jobs.cluster.memory import give_back_memory
from jobs.cluster.tasks import Attempt, Outcome, RunLimits, Task
from jobs.cluster.usage import measured
from jobs.errors import ClusterError, one_line

logger = logging.getLogger(__name__)

LOCAL = "local"
LOST = (WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)
PART_RETRIES = 3
IN_FLIGHT_PER_SLOT = 2  # one runs, one waits: no slot is idle, and memory is bounded

OnSaved = Callable[[Saved], None]
OnTold = Callable[[str, Told], None]
OnEnded = Callable[[Outcome], None]


@dataclass(frozen=True)
class Setting:
    """What a task finds: the number of threads that it may use, and the working folder of the driver."""

    num_threads: int
    folder: Path


@ray.remote(max_retries=0)
def _call(function: Callable[..., Any], setting: Setting, has_parts: bool, *arguments: Any) -> Any:
    _enter(setting)
    try:
        return measured(function, arguments, has_parts=has_parts)
    finally:
        give_back_memory()


@ray.remote(max_retries=0, num_returns="streaming")
def _stream(function: Callable[..., Any], setting: Setting, saved: dict[str, bytes], *arguments: Any) -> Iterator[Any]:
    def work(*all_arguments: Any) -> Any:
        _enter(setting)  # in the working thread: each thread has its own number of threads
        try:
            return measured(function, all_arguments)
        finally:
            give_back_memory()

    yield from stream(work, arguments, saved)


@ray.remote(max_retries=0)
def _call_saving(function: Callable[..., Any], setting: Setting, saved: dict[str, bytes], *arguments: Any) -> Any:
    _enter(setting)
    return measured(function, (*arguments, Saves(saved, lambda _: None)))


def _enter(setting: Setting) -> None:
    """Work with a number of threads, in the driver's folder where this node has it: relative sources are found there.

    A node that lacks the folder may have a copy of it as the folder of its workers; `ray job submit` makes one.
    """
    import torch

    torch.set_num_threads(max(1, setting.num_threads))
    with suppress(OSError):
        os.chdir(setting.folder)


def live_nodes() -> list[Node]:
    """Return the live nodes of the cluster, with their total CPUs, GPUs and memory."""
    return nodes_of(ray.nodes())  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to; `on_ended` gets the outcome of each task."""

    address: str
    on_ended: OnEnded = lambda _: None

    @property
    def resources(self) -> dict[str, float]:
        """The CPUs and GPUs of all nodes."""
        nodes = live_nodes()
        return {"CPU": sum(node.num_cpus for node in nodes), "GPU": sum(node.num_gpus for node in nodes)}

    @property
    def node_bytes(self) -> int | None:
        """The memory of the largest node; None if it is not known."""
        return largest_bytes(live_nodes())

    def put(self, value: Any) -> Any:
        """Return a reference to a value that tasks read without a copy; put a shared value only once."""
        return ray.put(value)

    def run(
        self,
        tasks: Iterable[Task],
        limits: RunLimits | None = None,
        on_saved: OnSaved | None = None,
        on_told: OnTold | None = None,
    ) -> Iterator[Outcome]:
        """Yield the outcome of each task when it ends; `on_saved` gets the training checkpoints of tasks,
        `on_told` how far they are, by their keys.

        References to finished tasks are dropped, so Ray can free their arguments. If the caller stops iterating, by an
        error or an interrupt, the other tasks are cancelled.
        Raises ClusterError if a task can never fit the cluster, or after `limits.timeout_s`.
        """
        waiting = deque(Attempt(task, saved=dict(task.saved)) for task in tasks)
        run = _Run(
            Deadlines(self.address, limits or RunLimits()),
            on_saved or (lambda _: None),
            on_told or (lambda *_: None),
            waiting,
        )
        run.deadlines.require_room(run.shortage)
        try:
            for outcome in run.outcomes():
                self.on_ended(outcome)
                yield outcome
        except RayError as exc:
            raise ClusterError(
                f"the cluster at '{self.address}' failed: {one_line(exc)}; run again to continue"
            ) from exc
        finally:
            for reference in run.running:
                ray.cancel(reference, force=True)


@dataclass
class _Run:
    """Tasks that wait and tasks that run, by the reference (or the stream) that Ray gave for each."""

    deadlines: Deadlines
    on_saved: OnSaved
    on_told: OnTold
    waiting: deque[Attempt]
    running: dict[Any, Attempt] = field(default_factory=dict)

    def shortage(self) -> str | None:
        """Return what the first waiting task that fits no node needs, and what there is; None if each fits one."""
        return next(filter(None, (shortage(attempt.task, live_nodes()) for attempt in self.waiting)), None)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes, keeping as many tasks in flight as there are slots."""
        while self.waiting or self.running:
            self._submit_some()
            ready, _ = ray.wait(list(self.running), num_returns=1, timeout=POLL_S)
            for reference in ready:
                if (outcome := self._collect(reference)) is not None:
                    yield outcome
            if not ready:
                yield from self._unschedulable()
            self.deadlines.require_time(len(self.waiting) + len(self.running))

    def _submit_some(self) -> None:
        if not self.waiting:
            return
        slots = max(1, int(sum(node.num_cpus for node in live_nodes())))
        while self.waiting and len(self.running) < IN_FLIGHT_PER_SLOT * slots:
            attempt = self.waiting.popleft()
            self.running[_submit(attempt, self.deadlines.address)] = attempt

    def _collect(self, reference: Any) -> Outcome | None:
        """Return the outcome of a task; None if it continues, or is started again."""
        attempt = self.running[reference]
        try:
            streams = attempt.task.saves and not is_client(self.deadlines.address)
            item = ray.get(next(reference) if streams else reference)
        except RayTaskError as exc:
            del self.running[reference]
            cause = exc.cause if isinstance(exc.cause, Exception) else exc
            return self._lost(attempt, cause) if isinstance(cause, MemoryError) else attempt.failed(cause)
        except LOST as exc:
            del self.running[reference]
            return self._lost(attempt, exc)
        if isinstance(item, Told):
            self.on_told(attempt.task.key, item)
            return None
        if isinstance(item, Saved):
            attempt.saved[item.name] = item.data
            self.on_saved(item)
            return None
        del self.running[reference]
        return attempt.ended(item)

    def _lost(self, attempt: Attempt, error: Exception) -> Outcome | None:
        outcome = attempt.lost(error, self.deadlines.limits.max_failures)
        if outcome is None:
            self.waiting.appendleft(attempt)
        return outcome

    def _unschedulable(self) -> Iterator[Outcome]:
        """Yield an error for each task for which no node has had room for too long, as nodes were lost."""
        nodes = live_nodes()
        for reference, attempt in list(self.running.items()):
            short = shortage(attempt.task, nodes)
            if (error := self.deadlines.given_up(attempt.task.key, short, *attempt.failures[-1:])) is not None:
                del self.running[reference]
                ray.cancel(reference, force=True)
                yield attempt.failed(error)


def _submit(attempt: Attempt, address: str) -> Any:
    """Start a task. If it was lost before, spread it to another node: its old node may be the reason."""
    task = attempt.task
    setting = Setting(int(task.num_cpus), Path.cwd())
    options: dict[str, Any] = {"num_cpus": task.num_cpus, "num_gpus": task.num_gpus, "name": task.key}
    options |= memory_options(task, live_nodes()) if task.memory_bytes else {}
    if attempt.failures:
        options["scheduling_strategy"] = "SPREAD"
    if task.saves:
        saving = _call_saving if is_client(address) else _stream  # Ray Client has no streams: nothing is saved then
        return saving.options(**options).remote(task.function, setting, attempt.saved, *task.arguments)
    if task.num_parts:
        # Ray itself computes a lost part again: only Ray notices when another task needs the part.
        options |= {"num_returns": 1 + task.num_parts, "max_retries": PART_RETRIES}
    references = _call.options(**options).remote(task.function, setting, bool(task.num_parts), *task.arguments)
    if not task.num_parts:
        return references
    attempt.parts = tuple(references[1:])
    return references[0]


@contextmanager
def connect(address: str | None = None, on_ended: OnEnded = lambda _: None) -> Iterator[Cluster]:
    """Join the cluster at `address`, at RAY_ADDRESS, or of the Ray job this runs in; else start one on this machine.

    `local` always starts one. `on_ended` gets the outcome of each task. At the end, a joined cluster is left, and a
    started one is stopped.
    Raises ClusterError if it can't be reached.
    """
    os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"  # else Ray prints the traceback of an error that is an outcome
    target = address or os.environ.get("RAY_ADDRESS") or LOCAL  # `ray job submit` sets the variable
    options: dict[str, Any] = {"address": target, "logging_level": logging.WARNING, "log_to_driver": False}
    if target == LOCAL:
        options["include_dashboard"] = False
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # it logs that there is a token
    elif "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:  # else `ray job submit` has uploaded the program
        options["runtime_env"] = {"py_modules": own_packages()}
    require_access(target)
    with sigterm_kept():  # ray.init sets a handler that ends the program with another exit code
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError, RayError) as exc:
            raise no_cluster(target, exc) from exc
    try:
        yield Cluster(target, on_ended)
    finally:
        ray.shutdown()
