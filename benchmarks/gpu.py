"""The engines on a GPU: share of what the machine can do, and against the CPU. Without one, says so."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.measuring import machine
from benchmarks.synthetic import rates_grid, regression, spaced_rates
from jobs.engines.minibatch import engine as minibatch
from jobs.engines.minibatch.batches import Samples
from jobs.engines.minibatch.evaluation import MomentsEvaluator, Scores
from jobs.engines.minibatch.fitting import fit
from jobs.engines.minibatch.ranks import SingleProcess
from jobs.engines.moments import moments_of
from jobs.engines.settings import TrainingSettings

NUM_ROWS, NUM_COLUMNS, NUM_RATES, BATCH_SIZE, EPOCHS = 8_000_000, 128, 16, 65_536, 5


def main() -> None:
    """Print the share of copy bandwidth and of the float32 rate that an epoch of minibatches reaches."""
    if not torch.cuda.is_available():
        print("no CUDA device here: run 'python -m benchmarks gpu' on a machine with one\n")
        return
    print(f"{machine()}; {torch.cuda.get_device_name()}\n")
    device = torch.device("cuda")
    data = regression(NUM_ROWS, NUM_COLUMNS)
    scores = Scores(MomentsEvaluator(moments_of(data.x_nd[:10_000], data.y_n[:10_000])))
    samples, grid = Samples(data.x_nd, data.y_n), rates_grid(spaced_rates(NUM_RATES))

    def epochs(number: int) -> Callable[[], object]:
        settings = TrainingSettings(epochs=number, num_evaluations=1, batch_size=BATCH_SIZE)
        return lambda: fit(minibatch.prepare(samples, grid, settings, SingleProcess(device)), scores, settings)

    # The difference leaves out the copy to the device, which is done once.
    epoch_s = (synchronised(epochs(3 + EPOCHS)) - synchronised(epochs(3))) / EPOCHS
    read_s = 3 * data.x_nd.nbytes / copy_bytes_per_s(data.x_nd[: NUM_ROWS // 4].to(device))  # gathered once, read twice
    compute_s = 4 * data.x_nd.numel() * NUM_RATES / product_flops_per_s(device)
    bound_s = max(read_s, compute_s)
    print(f"an epoch takes {epoch_s:.4f} s; the bound is {bound_s:.4f} s: {bound_s / epoch_s:.0%} (aimed at: ≥ 60%)\n")


def synchronised(work: Callable[[], object]) -> float:
    """Return the seconds of work on the device, the second time it is done."""
    for _ in range(2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
    return time.perf_counter() - began


def copy_bytes_per_s(x_nd: torch.Tensor) -> float:
    """Return the bytes that a copy on the device reads and writes in a second."""
    target_nd = torch.empty_like(x_nd)
    return 2 * x_nd.nbytes * 10 / synchronised(lambda: [target_nd.copy_(x_nd) for _ in range(10)])


def product_flops_per_s(device: torch.device) -> float:
    """Return the float32 operations that a large product takes in a second, without TF32."""
    a_nn = torch.randn(8192, 8192, device=device)
    return 2 * 8192**3 / synchronised(lambda: a_nn @ a_nn)
