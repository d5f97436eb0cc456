"""Ranks: what two are worth, what DistributedDataParallel costs one, and how often a job pays Ray Train's start."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks.measuring import Ratio, duration, machine, print_ratios, run
from jobs.cluster import connect
from jobs.gangs import Gangs
from jobs.tasks import GangSize, Task

NUM_ROWS, NUM_COLUMNS, NUM_RATES = 2_000_000, 128, 32
NUM_BLOCKS = 8


def main() -> None:
    """Print the tables."""
    print(f"{machine()}; medians of 5 epochs; one thread to a rank\n")
    one, two = ranks(1), ranks(2)
    work = f"{NUM_ROWS:,} × {NUM_COLUMNS}, {NUM_RATES} rates, batch 8,192, one epoch"
    print_ratios(
        [
            Ratio(f"{work}: two ranks", "one rank", two["gang_s"], one["gang_s"], at_least=1.7),
            Ratio("one rank", "the engine without ranks", one["gang_s"], one["alone_s"], at_most=1.05),
        ]
    )
    with connect("local") as cluster:
        times = [started(Gangs(cluster, GangSize(2, cpus_per_worker=0.5)), count) for count in (1, NUM_BLOCKS)]
    print(f"Ray Train with 2 ranks: 1 block {duration(times[0])}, {NUM_BLOCKS} blocks {duration(times[1])}\n")


def ranks(number: int) -> dict[str, float]:
    """Return what the ranks of one machine report."""
    size = ("--nproc-per-node", str(number))
    shape = map(str, (NUM_ROWS, NUM_COLUMNS, NUM_RATES))
    output = run([sys.executable, "-m", "torch.distributed.run", *size, "-m", "benchmarks.ddp_rank", *shape])
    found: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return found


def started(gangs: Gangs, num_blocks: int) -> float:
    """Return the seconds of a job of blocks that do next to nothing."""
    began = time.perf_counter()
    for outcome in gangs.run([Task(f"block {number}", nothing, ()) for number in range(num_blocks)]):
        if outcome.error is not None:
            raise outcome.error
    return time.perf_counter() - began


def nothing(ranks: Any) -> int:
    """Return the number of ranks."""
    number: int = ranks.number
    return number
