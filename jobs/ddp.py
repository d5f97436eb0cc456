"""The one room where torch.distributed lives: ranks that train a block together.

Each rank has some of the rows, and writes their share of the gradient out. DistributedDataParallel, around the wide
linear layer of the block, adds the shares up: once a step for the whole grid. It takes the mean over ranks, so a share
is weighted by the number of ranks; no batch is padded, and a rank without rows adds zeros.

Shapes: q columns of z · w columns of a product (the grid points, and what makes it fast).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jobs.engines.ranks import Reduce
from jobs.errors import DONE, ClusterError, JobError

TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Gang:
    """The ranks of the process group of this process; `timeout_s` is what each collective is given."""

    rank: int
    number: int
    device: torch.device
    timeout_s: float

    def total(self, value: Tensor, what: str) -> Tensor:
        """Return the sum over the ranks. Raises ClusterError if one does not answer in time."""
        total = value.detach().to(self.device, copy=True)
        with self._waiting(what):
            dist.all_reduce(total)
        return total.to(value.device)

    def reducer(self, weight_qw: Tensor) -> Reduce:
        """Return what adds the shares of a gradient up, through DistributedDataParallel."""
        layer = _GivenGradient(weight_qw)
        with self._waiting("the others to start"):
            model = DistributedDataParallel(layer, gradient_as_bucket_view=True, init_sync=False)

        def reduce(gradient_qw: Tensor) -> None:
            gradient_qw.mul_(self.number)
            layer.zero_grad()
            with self._waiting("a gradient"):
                model(gradient_qw.T).backward()
            assert layer.linear.weight.grad is not None  # noqa: S101 - backward has set it
            gradient_qw.copy_(layer.linear.weight.grad.T)

        return reduce

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as exc:  # what torch.distributed raises
            reason = " ".join(str(exc).split())[:300]
            raise ClusterError(
                f"rank {self.rank} of {self.number} did not get {what} from the others (timeout {self.timeout_s:g} s): "
                f"{reason}. A rank was lost, or is slower than that; run again to go on"
            ) from exc


class _GivenGradient(nn.Module):
    """The wide linear layer of a block, whose gradient is known already: what is passed forward goes back."""

    def __init__(self, weight_qw: Tensor) -> None:
        super().__init__()
        num_inputs, num_outputs = weight_qw.shape
        self.linear = nn.Linear(num_inputs, num_outputs, bias=False, device="meta")
        self.linear.weight = nn.Parameter(weight_qw.T)

    def forward(self, gradient_wq: Tensor) -> Any:
        return _Given.apply(self.linear.weight, gradient_wq)  # type: ignore[no-untyped-call]


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_wq: Tensor, gradient_wq: Tensor) -> Tensor:
        ctx.gradient_wq = gradient_wq
        return weight_wq.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient_wq, None


@contextmanager
def joined(device: torch.device, timeout_s: float = TIMEOUT_S) -> Iterator[Gang]:
    """Join the ranks that the environment names, as torchrun and Ray Train do; leave them at the end.

    A process group that is there already is used, and stays. Raises ClusterError if the others do not come in time.
    """
    ours = not dist.is_initialized()
    if ours:
        if "RANK" not in os.environ:
            raise ClusterError("the environment names no ranks: start it by 'torchrun --nproc-per-node N -m jobs.ddp'")
        rank, number = os.environ["RANK"], os.environ["WORLD_SIZE"]
        try:
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
        except (RuntimeError, ValueError) as exc:
            reason = " ".join(str(exc).split())[:300]
            raise ClusterError(f"rank {rank} of {number} did not meet the others in {timeout_s:g} s: {reason}") from exc
    try:
        yield Gang(dist.get_rank(), dist.get_world_size(), device, timeout_s)
    finally:
        if ours:
            dist.destroy_process_group()


def own_device(*, use_gpu: bool) -> torch.device:
    """Return the device of this rank: the GPU of its place on its node, or the CPU."""
    if not use_gpu:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def main(arguments: Sequence[str]) -> int:
    """Train the datasets of a configuration on the ranks of torchrun, without Ray: `torchrun … -m jobs.ddp CONFIG`.

    The first rank prints every trial as JSON. Nothing is stored. Returns the exit code of `gridline train`.
    """
    from jobs.config import load_config
    from jobs.data import read_datasets
    from jobs.planning import make_recipe
    from jobs.reporting import trial_document
    from jobs.training import train_dataset

    try:
        path = Path(*arguments)
        config = load_config(path)
        recipe = make_recipe(config)
        gpu_wanted = recipe.size.on(torch.cuda.device_count()).use_gpu is True
        with joined(own_device(use_gpu=gpu_wanted)) as gang:
            trained = [train_dataset(dataset, recipe, ranks=gang) for dataset in read_datasets(config, path.parent)]
    except JobError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    if gang.rank == 0:
        trials = [
            {"dataset": each.name, "trials": [trial_document(each, g) for g in range(each.hyperparameters.num_points)]}
            for each in trained
        ]
        sys.stdout.write(json.dumps({"ranks": gang.number, "datasets": trials}) + "\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
