"""Ray Train's room, next door to `cluster`: a gang of ranks that does tasks, and speaks to the driver by a mailbox."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.train import RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.cluster.checkpoint_stream import Saved, Saves
from jobs.cluster.ddp import TIMEOUT_S, RankGroup, joined, own_device
from jobs.cluster.tasks import Outcome, RankGroupSize, Task
from jobs.errors import ClusterError, JobError

POLL_S = 0.2
END_S = 10.0  # what a gang is given to take itself down when its work is done
ABORT_S = 4.0  # and when it is interrupted: all of it has to end within 10 s
STRATEGIES = {"pack": "PACK", "strict_pack": "STRICT_PACK", "spread": "SPREAD"}


@dataclass(frozen=True)
class Trainer:
    """A gang as the driver sees it: the process that runs Ray Train's trainer, and the mailbox of the ranks."""

    running: Any
    mailbox: Any

    def failure(self) -> Exception | None:
        """Return why the gang ended, or None if it works."""
        if not ray.wait([self.running], timeout=POLL_S)[0]:
            return None
        try:
            ray.get(self.running)
        except RayTaskError as exc:
            return _loss(exc.cause) if isinstance(exc.cause, WorkerGroupError) else exc.cause or exc
        except RayError as exc:
            return exc
        return ClusterError("the gang ended before its work was done")

    def new_messages(self) -> list[Outcome | Saved]:
        """Return what the ranks have sent. Raises ClusterError if there is no answer in time."""
        try:
            new: list[Outcome | Saved] = ray.get(self.mailbox.take.remote(), timeout=TIMEOUT_S)
        except RayActorError:  # without it the ranks speak to nobody
            ray.cancel(self.running, force=True)
            return []
        except GetTimeoutError as exc:
            raise ClusterError(f"the ranks' mailbox did not answer in {TIMEOUT_S:g} s; run again to go on") from exc
        return new

    def interrupt(self) -> None:
        """Have the trainer take the ranks, and what they hold, down."""
        ray.cancel(self.running)

    def end(self) -> None:
        """Leave nothing of the gang behind, whatever state it is in."""
        if not self._ended(0):
            self.interrupt()
            if not self._ended(ABORT_S):
                ray.cancel(self.running, force=True)
        ray.kill(self.mailbox)
        _free_places()

    def _ended(self, seconds: float) -> bool:
        return bool(ray.wait([self.running], timeout=seconds)[0])


def _loss(error: WorkerGroupError) -> ClusterError:
    """Return what became of each rank, in a line: those that died first, then those that therefore failed."""
    died, failed = [], []
    for rank, failure in error.worker_failures.items():
        death = getattr(failure, "health_check_failure", None)
        if death is not None:
            died.append(f"rank {rank}: {str(death).splitlines()[0]}")
        else:
            failed.append(f"rank {rank}: {str(failure).rstrip().splitlines()[-1]}")
    return ClusterError("; ".join(died + failed))


@contextmanager
def started(tasks: Sequence[Task], size: RankGroupSize, address: str) -> Iterator[Trainer]:
    """Start a gang for these tasks, and end it. Raises ClusterError where Ray fails.

    Its trainer and its mailbox are on the driver's node: the loss of another costs the ranks alone.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    mailbox = _Mailbox.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    job = _RankGroupJob(tuple(tasks), size, mailbox)
    trainer = Trainer(_fit.options(scheduling_strategy=here).remote(job), mailbox)
    try:
        yield trainer
        ray.wait([trainer.running], timeout=END_S)
    except RayError as exc:
        reason = " ".join(str(exc).split())
        raise ClusterError(f"the cluster at '{address}' failed: {reason}; run again to go on") from exc
    finally:
        trainer.end()


def _free_places() -> None:
    """Remove what gangs of this driver still reserve: after a trainer that was killed, the next would wait for it."""
    own_job = ray.get_runtime_context().get_job_id()
    for key, group in placement_group_table().items():
        if key.endswith(own_job) and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(key)))


@dataclass(frozen=True)
class _RankGroupJob:
    tasks: tuple[Task, ...]
    size: RankGroupSize
    mailbox: Any


@ray.remote(num_cpus=0)
class _Mailbox:
    """What the ranks have finished and saved, until the driver takes it."""

    def __init__(self) -> None:
        self._new: list[Outcome | Saved] = []

    def put(self, item: Outcome | Saved) -> None:
        """Keep something for the driver."""
        self._new.append(item)

    def take(self) -> list[Outcome | Saved]:
        """Return what is new."""
        new, self._new = self._new, []
        return new


@ray.remote(num_cpus=0, max_retries=0)
def _fit(job: _RankGroupJob) -> None:
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
                placement_strategy=STRATEGIES[job.size.placement],
            ),
            run_config=RunConfig(storage_path=folder),
        )
        _leave_cleaner_out(trainer)
        trainer.fit()


def _leave_cleaner_out(trainer: Any) -> None:
    """Have Ray Train not start the detached actor that would free places: where there is no dashboard it never ends.

    The driver frees them itself (`_free_places`), and Ray does so when the driver is gone.
    """
    create = trainer._create_default_callbacks
    trainer._create_default_callbacks = lambda: [
        callback for callback in create() if type(callback).__name__ != "PlacementGroupCleanerCallback"
    ]


def _work(config: Mapping[str, _RankGroupJob]) -> None:
    """Do the tasks one after the other: what each rank runs."""
    import torch

    job = config["job"]
    torch.set_num_threads(max(1, int(job.size.cpus_per_worker)))
    with joined(own_device(use_gpu=job.size.gpus_per_worker > 0), TIMEOUT_S) as rank_group:
        for task in job.tasks:
            outcome = _attempt(task, rank_group, _Post(job.mailbox, rank_group.rank == 0))
            if rank_group.rank == 0:
                ray.get(job.mailbox.put.remote(outcome), timeout=TIMEOUT_S)


@dataclass(frozen=True)
class _Post:
    """Sends what a task saves, from one rank: all have the same."""

    mailbox: Any
    speaks: bool

    def __call__(self, item: Saved) -> None:
        if self.speaks:
            self.mailbox.put.remote(item)


def _attempt(task: Task, rank_group: RankGroup, post: Callable[[Saved], None]) -> Outcome:
    """Return what a task came to; an error of the job itself is its answer, and any other takes the gang down."""
    arguments = [ray.get(value) if isinstance(value, ray.ObjectRef) else value for value in task.arguments]
    if task.saves:
        arguments.append(Saves(task.saved, post))
    try:
        return Outcome(task.key, task.function(*arguments, ranks=rank_group))
    except ClusterError:
        raise
    except JobError as exc:
        return Outcome(task.key, error=exc)


def _resources(size: RankGroupSize) -> dict[str, float]:
    gpus = {"GPU": size.gpus_per_worker} if size.gpus_per_worker else {}
    return {"CPU": size.cpus_per_worker, **gpus}
