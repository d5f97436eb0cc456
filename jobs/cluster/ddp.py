"""The only module that imports torch.distributed: ranks that train a block together.

Each rank has some of the rows and computes the gradient of its rows. DistributedDataParallel, around the wide linear
layer of the block, sums the gradients once a step for the whole grid. It computes the mean over ranks, so each gradient
is multiplied by the number of ranks. No batch is padded, and a rank without rows contributes zeros.

Shapes: q columns of z · w columns of a product (the grid points, and zeros for speed).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jobs.engines.minibatch.ranks import Reduce, no_reduction
from jobs.errors import ClusterError, one_line

TIMEOUT_S = 300.0


@dataclass(frozen=True)
class RankGroup:
    """The ranks of the process group of this process; `timeout_s` is the timeout of a collective operation.

    If there is a thread `beside`, it sums gradients while the main thread continues.
    """

    rank: int
    number: int
    device: torch.device
    timeout_s: float
    beside: ThreadPoolExecutor | None = None

    def total(self, value: Tensor, what: str) -> Tensor:
        """Return the sum over the ranks. Raises ClusterError if a rank does not answer in time."""
        total = value.detach().to(self.device, copy=True)
        with self._waiting(what):
            dist.all_reduce(total)
        return total.to(value.device)

    def reducer(self, weight_qw: Tensor) -> Reduce:
        """Return a function that sums a gradient over ranks; with one rank it does nothing."""
        if self.number == 1:
            return no_reduction
        reduction = Reduction(weight_qw)

        def reduce(gradient_qw: Tensor, meanwhile: Callable[[], None]) -> None:
            gradient_qw.mul_(self.number)
            if self.beside is None:
                with self._waiting("a gradient"):
                    reduction.add_up(gradient_qw)
                return
            added_up = self.beside.submit(reduction.add_up, gradient_qw)
            meanwhile()
            with self._waiting("a gradient"):
                added_up.result()

        return reduce

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as exc:  # raised by torch.distributed
            raise ClusterError(
                f"rank {self.rank} of {self.number} did not get {what} from the others (timeout {self.timeout_s:g} s): "
                f"{one_line(exc)[:300]}. A rank was lost, or is slower than that; run again to continue"
            ) from exc


class _Wide(nn.Module):
    """The wide linear layer of a block. The engine computes the gradient, without a forward pass of this layer."""

    def __init__(self, weight_qw: Tensor) -> None:
        super().__init__()
        num_inputs, num_outputs = weight_qw.shape
        self.linear = nn.Linear(num_inputs, num_outputs, bias=False, device="meta")
        self.linear.weight = nn.Parameter(weight_qw.T)

    def forward(self) -> Tensor:
        return self.linear.weight.view_as(self.linear.weight)


class Reduction:
    """DistributedDataParallel around the wide layer; the graph from gradient to weights is reused."""

    def __init__(self, weight_qw: Tensor) -> None:
        self._layer = _Wide(weight_qw)
        self._model = DistributedDataParallel(self._layer, gradient_as_bucket_view=True, init_sync=False)
        self._given_wq = self._model()
        self._num_forward = 1

    def add_up(self, gradient_qw: Tensor) -> None:
        """Replace a gradient by its mean over the ranks."""
        weight_wq = self._layer.linear.weight
        weight_wq.grad = None
        self._given_wq.backward(gradient_qw.T, retain_graph=True)
        mean_wq = self._layer.linear.weight.grad
        assert mean_wq is not None  # noqa: S101 - backward has set it
        gradient_qw.copy_(mean_wq.T)
        if self._num_forward < 2:  # the second forward pass rebuilds the buckets
            self._given_wq = self._model()
            self._num_forward += 1
        else:  # the same as a forward pass, in a third of its time
            self._model.reducer.prepare_for_backward([])


@contextmanager
def joined(device: torch.device, timeout_s: float = TIMEOUT_S) -> Iterator[RankGroup]:
    """Join the process group of the environment variables of torchrun or Ray Train; leave it at the end.

    An existing process group is used, and not destroyed. Otherwise each rank is limited to its share of the cores.
    Raises ClusterError if the other ranks do not join in time.
    """
    ours = not dist.is_initialized()
    if ours:
        if "RANK" not in os.environ:
            raise ClusterError(
                "the environment names no ranks: start it by 'torchrun --nproc-per-node N -m jobs.cli.torchrun'"
            )
        rank, number = os.environ["RANK"], os.environ["WORLD_SIZE"]
        try:
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
        except (RuntimeError, ValueError) as exc:
            reason = one_line(exc)[:300]
            raise ClusterError(f"rank {rank} of {number} did not meet the others in {timeout_s:g} s: {reason}") from exc
        _keep_to_own_cores()
    # On a GPU the all-reduce is asynchronous; on a CPU a thread makes it so.
    beside = ThreadPoolExecutor(1, "gradient") if device.type == "cpu" and dist.get_world_size() > 1 else None
    try:
        yield RankGroup(dist.get_rank(), dist.get_world_size(), device, timeout_s, beside)
    finally:
        if beside is not None:
            beside.shutdown(wait=False)
        if ours:
            dist.destroy_process_group()


def _keep_to_own_cores() -> None:
    """Divide the cores among the ranks of this machine: otherwise waiting threads slow the working threads down."""
    number = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if number > 1 and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        share = len(cores) // number
        if share > 0:
            begin = int(os.environ["LOCAL_RANK"]) * share
            os.sched_setaffinity(0, cores[begin : begin + share])


def own_device(*, use_gpu: bool) -> torch.device:
    """Return the device of this rank: the GPU with its local rank, or the CPU."""
    if not use_gpu:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
