"""Run a rank group with Ray Train, the only module that imports it; ranks report to the driver through an actor."""

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

from jobs.cluster.checkpoint_stream import Message, Saves
from jobs.cluster.ddp import TIMEOUT_S, RankGroup, joined, own_device
from jobs.cluster.tasks import Outcome, RankGroupSize, Task
from jobs.errors import ClusterError, JobError, one_line

POLL_S = 0.2
END_S = 10.0  # the time for a rank group to end after its last task
ABORT_S = 4.0  # and after an interrupt: the whole job has to end within 10 s


@dataclass(frozen=True)
class Trainer:
    """The driver's handle of a rank group: the task that runs Ray Train's trainer, and the actor for messages."""

    running: Any
    messages: Any

    def failure(self) -> Exception | None:
        """Return the error that ended the rank group, or None if it works."""
        if not ray.wait([self.running], timeout=POLL_S)[0]:
            return None
        try:
            ray.get(self.running)
        except RayTaskError as exc:
            return _loss(exc.cause) if isinstance(exc.cause, WorkerGroupError) else exc.cause or exc
        except RayError as exc:
            return exc
        return ClusterError("the rank group ended before its last task")

    def new_messages(self) -> list[Outcome | Message]:
        """Return the new messages of the ranks. Raises ClusterError if the actor does not answer in time."""
        try:
            new: list[Outcome | Message] = ray.get(self.messages.take.remote(), timeout=TIMEOUT_S)
        except RayActorError:  # without the actor, the ranks can't send their outcomes
            ray.cancel(self.running, force=True)
            return []
        except GetTimeoutError as exc:
            raise ClusterError(
                f"the actor of the ranks did not answer in {TIMEOUT_S:g} s; run again to continue"
            ) from exc
        return new

    def interrupt(self) -> None:
        """Make the trainer stop the ranks and free their resources."""
        ray.cancel(self.running)

    def end(self) -> None:
        """Stop the rank group in any state, and free all its resources."""
        if not self._ended(0):
            self.interrupt()
            if not self._ended(ABORT_S):
                ray.cancel(self.running, force=True)
        ray.kill(self.messages)
        _remove_placement_groups()

    def _ended(self, seconds: float) -> bool:
        return bool(ray.wait([self.running], timeout=seconds)[0])


def _loss(error: WorkerGroupError) -> ClusterError:
    """Return one line with the error of each rank: first ranks that died, then ranks that failed for that reason."""
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
    """Start a rank group for these tasks, and stop it at the end. Raises ClusterError if Ray fails.

    Its trainer and its actor are on the driver's node, so the loss of another node stops only ranks.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    messages = _Messages.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    trainer = Trainer(_fit.options(scheduling_strategy=here).remote(tuple(tasks), size, messages), messages)
    try:
        yield trainer
        ray.wait([trainer.running], timeout=END_S)
    except RayError as exc:
        raise ClusterError(f"the cluster at '{address}' failed: {one_line(exc)}; run again to continue") from exc
    finally:
        trainer.end()


def _remove_placement_groups() -> None:
    """Remove the placement groups of this driver: after a killed trainer, the next one would wait for them."""
    own_job = ray.get_runtime_context().get_job_id()
    for key, group in placement_group_table().items():
        if key.endswith(own_job) and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(key)))


@ray.remote(num_cpus=0)
class _Messages:
    """An actor with the outcomes and checkpoints of the ranks, until the driver takes them."""

    def __init__(self) -> None:
        self._new: list[Outcome | Message] = []

    def put(self, item: Outcome | Message) -> None:
        """Add a message for the driver."""
        self._new.append(item)

    def take(self) -> list[Outcome | Message]:
        """Return the new messages, and forget them."""
        new, self._new = self._new, []
        return new


@ray.remote(num_cpus=0, max_retries=0)
def _fit(tasks: tuple[Task, ...], size: RankGroupSize, messages: Any) -> None:
    """Run the trainer in a Ray task without resources."""
    use_gpu = size.gpus_per_worker > 0
    with tempfile.TemporaryDirectory(prefix="gridline-train-") as folder:
        trainer = TorchTrainer(
            _work,
            train_loop_config={"tasks": tasks, "size": size, "messages": messages},
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=int(TIMEOUT_S)),
            scaling_config=ScalingConfig(
                num_workers=size.num_workers,
                use_gpu=use_gpu,
                resources_per_worker={"CPU": size.cpus_per_worker} | ({"GPU": size.gpus_per_worker} if use_gpu else {}),
                placement_strategy=size.placement.upper(),
            ),
            run_config=RunConfig(storage_path=folder),
        )
        _leave_cleaner_out(trainer)
        trainer.fit()


def _leave_cleaner_out(trainer: Any) -> None:
    """Prevent Ray Train from starting its detached cleaner of placement groups: without a dashboard it never ends.

    The driver frees them itself (`_remove_placement_groups`), and Ray does when the driver has ended.
    """
    create = trainer._create_default_callbacks
    trainer._create_default_callbacks = lambda: [
        callback for callback in create() if type(callback).__name__ != "PlacementGroupCleanerCallback"
    ]


def _work(config: Mapping[str, Any]) -> None:
    """Run the tasks in order; each rank executes this function, and the first sends messages: all have the same."""
    import torch

    size, messages = config["size"], config["messages"]
    torch.set_num_threads(max(1, int(size.cpus_per_worker)))
    with joined(own_device(use_gpu=size.gpus_per_worker > 0), TIMEOUT_S) as rank_group:
        send = messages.put.remote if rank_group.rank == 0 else lambda _: None
        for task in config["tasks"]:
            outcome = _attempt(task, rank_group, send)
            if rank_group.rank == 0:
                ray.get(messages.put.remote(outcome), timeout=TIMEOUT_S)


def _attempt(task: Task, rank_group: RankGroup, send: Callable[[Message], Any]) -> Outcome:
    """Return the outcome of a task. A JobError is its outcome; any other error ends the rank group."""
    arguments = [ray.get(value) if isinstance(value, ray.ObjectRef) else value for value in task.arguments]
    if task.saves:
        arguments.append(Saves(task.saved, send))
    try:
        return Outcome(task.key, task.function(*arguments, ranks=rank_group))
    except ClusterError:
        raise
    except JobError as exc:
        return Outcome(task.key, error=exc)
