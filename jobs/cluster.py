"""The one room where Ray lives: a cluster is joined or started, and plain functions are run on it.

A task is a function of the package and its arguments. A worker, node or memory that is lost costs a task one of its
tries; an error that the function itself raised is the task's answer, and is not tried again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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

from jobs.errors import ClusterError

logger = logging.getLogger(__name__)

LOST = (WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)
PART_RETRIES = 3
IN_FLIGHT_PER_SLOT = 2  # one runs, one waits: a slot never idles, and memory is bounded


@dataclass(frozen=True)
class Task:
    """A plain function to run, by a key that names it in messages; `arguments` may hold what `Cluster.put` returned.

    With `num_parts` the function returns a summary and then that many parts, which stay in the cluster for other tasks.
    """

    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    num_parts: int = 0


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


@dataclass
class _Attempt:
    task: Task
    failures: list[str] = field(default_factory=list)
    references: list[Any] = field(default_factory=list)


@ray.remote(max_retries=0)
def _call(function: Callable[..., Any], num_threads: int, *arguments: Any) -> Any:
    import torch

    torch.set_num_threads(max(1, num_threads))
    return function(*arguments)


def _resources() -> dict[str, float]:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to."""

    address: str

    @property
    def resources(self) -> dict[str, float]:
        """The CPUs and GPUs of all nodes."""
        return {name: amount for name, amount in _resources().items() if name in ("CPU", "GPU")}

    def put(self, value: Any) -> Any:
        """Return a reference to a value that tasks read without a copy; put what several tasks share once."""
        return ray.put(value)

    def run(self, tasks: Sequence[Task], max_failures: int = 0) -> Iterator[Outcome]:
        """Yield what each task came to, as they end. Raises ClusterError if one can never fit the cluster."""
        for task in tasks:
            self._require_room(task)
        waiting = [_Attempt(task) for task in reversed(tasks)]
        slots = max(1, int(self.resources.get("CPU", 1)))
        running: dict[Any, _Attempt] = {}
        try:
            while waiting or running:
                while waiting and len(running) < IN_FLIGHT_PER_SLOT * slots:
                    attempt = waiting.pop()
                    attempt.references = self._submit(attempt.task)
                    running[attempt.references[0]] = attempt
                (ready,), _ = ray.wait(list(running), num_returns=1)
                attempt = running.pop(ready)
                outcome = _outcome(ready, attempt, max_failures)
                if outcome is None:
                    waiting.append(attempt)
                else:
                    yield outcome
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _submit(self, task: Task) -> list[Any]:
        options = {"num_cpus": task.num_cpus, "num_gpus": task.num_gpus, "name": task.key}
        if task.num_parts:
            # Ray makes a lost part again by itself: only it knows, when another task asks for the part.
            options |= {"num_returns": 1 + task.num_parts, "max_retries": PART_RETRIES}
        references = _call.options(**options).remote(task.function, int(task.num_cpus), *task.arguments)
        return references if task.num_parts else [references]

    def _require_room(self, task: Task) -> None:
        largest = {
            name: max((node["Resources"].get(name, 0.0) for node in _nodes() if node["Alive"]), default=0.0)
            for name in ("CPU", "GPU")
        }
        for name, wanted in (("CPU", task.num_cpus), ("GPU", task.num_gpus)):
            if wanted > largest[name]:
                raise ClusterError(
                    f"block '{task.key}' needs {wanted:g} {name}s on one node; the largest node of the cluster at "
                    f"{self.address} has {largest[name]:g}: ask for less, or join a larger cluster by --address"
                )


def _outcome(reference: Any, attempt: _Attempt, max_failures: int) -> Outcome | None:
    """Return what a finished task came to, or None if it is to be tried again."""
    try:
        parts = tuple(attempt.references[1:])
        return Outcome(attempt.task.key, value=ray.get(reference), parts=parts, failures=tuple(attempt.failures))
    except RayTaskError as exc:
        cause = exc.cause if isinstance(exc.cause, Exception) else exc
        return Outcome(attempt.task.key, error=cause, failures=tuple(attempt.failures))
    except LOST as exc:
        reason = " ".join(str(exc).split())
        attempt.failures.append(f"{type(exc).__name__}: {reason[:300]}")
        logger.warning("block %s lost its worker (%s); failure %d", attempt.task.key, reason, len(attempt.failures))
        if len(attempt.failures) <= max_failures:
            return None
        message = f"block '{attempt.task.key}' failed {len(attempt.failures)} times; the last: {attempt.failures[-1]}"
        return Outcome(attempt.task.key, error=ClusterError(message), failures=tuple(attempt.failures))


@contextmanager
def connect(address: str | None = None) -> Iterator[Cluster]:
    """Join the cluster at `address`, at RAY_ADDRESS, or of the Ray job this runs in; else start one on this machine.

    `local` always starts one. It is left, or stopped, at the end. Raises ClusterError if it can't be reached.
    """
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"address": target, "logging_level": logging.WARNING, "log_to_driver": False}
    if target == "local":
        options["include_dashboard"] = False
    elif "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        options["runtime_env"] = {"py_modules": _own_packages()}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, RayError) as exc:
        reason = " ".join(str(exc).split())
        raise ClusterError(f"no Ray cluster at '{target}': {reason}. Set --address, or 'local' for one here") from exc
    try:
        yield Cluster(target)
    finally:
        ray.shutdown()


def _own_packages() -> list[str]:
    """Return the folders of this program's packages: a cluster that was not made for it gets them along."""
    import handler
    import jobs
    import model_store

    return [os.path.dirname(package.__file__) for package in (handler, jobs, model_store) if package.__file__]  # noqa: PTH120
