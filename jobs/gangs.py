"""Ray Train's room, next door to `cluster`: tasks that several ranks run together.

One trainer runs all tasks of a job, so that its start (many seconds) is paid once. A rank that is lost takes the gang
down; it comes up again, asks what is finished, and goes on with the rest. Ranks speak to the driver by a mailbox.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from jobs.checkpoint_stream import Saved, Saves
from jobs.cluster import Cluster
from jobs.ddp import TIMEOUT_S, Gang, joined, own_device
from jobs.errors import ClusterError, JobError
from jobs.tasks import GangSize, Outcome, Patience, Task

POLL_S = 0.2
NODE_LOSS_S = 5.0  # what a node that restarts is given
OnSaved = Callable[[Saved], None]


@dataclass(frozen=True)
class Gangs:
    """A cluster whose tasks are run by several ranks together: the functions get `ranks` as one more argument."""

    cluster: Cluster
    size: GangSize

    def put(self, value: Any) -> Any:
        """Return a reference to a value that all ranks read."""
        return self.cluster.put(value)

    def run(
        self, tasks: Sequence[Task], patience: Patience | None = None, on_saved: OnSaved | None = None
    ) -> Iterator[Outcome]:
        """Yield what each task came to, in order. Raises ClusterError if the ranks can never fit the cluster."""
        patience = patience or Patience()
        self._wait_for_room(patience.wait_for_resources_s, patience.remedy)
        saved = {name: data for task in tasks for name, data in task.saved.items()}
        mailbox = _Mailbox.remote(saved)  # type: ignore[attr-defined]
        running = _fit.remote(_GangJob(tuple(tasks), self.size, patience.max_failures, mailbox))
        try:
            yield from self._outcomes(tasks, running, mailbox, patience, on_saved or (lambda _: None))
        finally:
            ray.cancel(running, force=True)
            ray.kill(mailbox)

    def _outcomes(
        self, tasks: Sequence[Task], running: Any, mailbox: Any, patience: Patience, on_saved: OnSaved
    ) -> Iterator[Outcome]:
        unfinished = {task.key: task for task in tasks}
        deadline = None if patience.timeout_s is None else time.monotonic() + patience.timeout_s
        failure = None
        while unfinished and failure is None:
            done, _ = ray.wait([running], timeout=POLL_S)
            failure = _failure(running) if done else None
            if not done:
                self._wait_for_room(max(NODE_LOSS_S, patience.wait_for_resources_s), patience.remedy)
            for item in ray.get(mailbox.take.remote()):
                if isinstance(item, Saved):
                    on_saved(item)
                elif unfinished.pop(item.key, None):
                    yield item
            if deadline is not None and time.monotonic() > deadline:
                raise ClusterError(f"{len(unfinished)} blocks did not end in timeout_s = {patience.timeout_s:g} s")
        for key in unfinished:
            yield Outcome(key, error=ClusterError(f"block '{key}' was lost with its ranks: {failure}"))

    def _wait_for_room(self, patience_s: float, remedy: str) -> None:
        """Wait until the cluster has room for the ranks. Raises ClusterError if it has none for too long."""
        deadline = time.monotonic() + patience_s
        while (short := self.size.shortage(self.cluster.resources)) is not None:
            if time.monotonic() >= deadline:
                raise ClusterError(f"{short} at '{self.cluster.address}'; {remedy}")
            time.sleep(POLL_S)


@dataclass(frozen=True)
class _GangJob:
    tasks: tuple[Task, ...]
    size: GangSize
    max_failures: int
    mailbox: Any


@ray.remote(num_cpus=0)
class _Mailbox:
    """What the ranks have finished and saved; it outlives them."""

    def __init__(self, saved: Mapping[str, bytes]) -> None:
        self._saved = dict(saved)
        self._finished: list[str] = []
        self._new: list[Outcome | Saved] = []

    def put(self, item: Outcome | Saved) -> None:
        """Keep something for the driver, and for ranks that come up again."""
        self._new.append(item)
        if isinstance(item, Saved):
            self._saved[item.name] = item.data
        else:
            self._finished.append(item.key)

    def take(self) -> list[Outcome | Saved]:
        """Return what is new."""
        new, self._new = self._new, []
        return new

    def past(self) -> tuple[list[str], dict[str, bytes]]:
        """Return the keys of the tasks that are finished, and what the others saved."""
        return self._finished, self._saved


@ray.remote(num_cpus=0, max_retries=0)
def _fit(job: _GangJob) -> None:
    """Run the trainer, from a process of its own that holds no resources."""
    with tempfile.TemporaryDirectory(prefix="gridline-train-") as folder:
        trainer = TorchTrainer(
            _work,
            train_loop_config={"job": job},
            torch_config=TorchConfig(backend="nccl" if job.size.gpus_per_worker else "gloo", timeout_s=int(TIMEOUT_S)),
            scaling_config=ScalingConfig(
                num_workers=job.size.num_workers,
                use_gpu=job.size.gpus_per_worker > 0,
                resources_per_worker=_resources(job.size),
                placement_strategy="SPREAD" if job.size.placement == "spread" else "PACK",
            ),
            run_config=RunConfig(storage_path=folder, failure_config=FailureConfig(max_failures=job.max_failures)),
        )
        trainer.fit()


def _work(config: Mapping[str, _GangJob]) -> None:
    """Do the tasks that are not finished: what each rank runs."""
    import torch

    job = config["job"]
    torch.set_num_threads(max(1, int(job.size.cpus_per_worker)))
    finished, saved = ray.get(job.mailbox.past.remote())
    with joined(own_device(use_gpu=job.size.gpus_per_worker > 0), TIMEOUT_S) as gang:
        for task in job.tasks:
            if task.key not in finished:
                outcome = _attempt(task, gang, _Post(job.mailbox, gang.rank == 0), saved)
                if gang.rank == 0:
                    ray.get(job.mailbox.put.remote(outcome))


@dataclass(frozen=True)
class _Post:
    """Sends what a task saves, from one rank: all have the same."""

    mailbox: Any
    speaks: bool = field(default=True)

    def __call__(self, item: Saved) -> None:
        if self.speaks:
            self.mailbox.put.remote(item)


def _attempt(task: Task, gang: Gang, post: _Post, saved: Mapping[str, bytes]) -> Outcome:
    """Return what a task came to; an error of the job itself is its answer, and any other takes the gang down."""
    arguments = [ray.get(value) if isinstance(value, ray.ObjectRef) else value for value in task.arguments]
    if task.saves:
        arguments.append(Saves(saved, post))
    try:
        return Outcome(task.key, task.function(*arguments, ranks=gang))
    except ClusterError:
        raise
    except JobError as exc:
        return Outcome(task.key, error=exc)


def _resources(size: GangSize) -> dict[str, float]:
    gpus = {"GPU": size.gpus_per_worker} if size.gpus_per_worker else {}
    return {"CPU": size.cpus_per_worker, **gpus}


def _failure(running: Any) -> str | None:
    """Return why the trainer ended, or None if its work is done."""
    try:
        ray.get(running)
    except RayError as exc:
        return " ".join(str(exc).split())[-300:]
    return None
