"""Ranks: what two are worth, what DistributedDataParallel costs one, and how often a job pays Ray Train's start."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.measuring import Ratio, duration, machine, print_ratios, run
from jobs.cluster.rank_groups import RankGroupRunner
from jobs.cluster.ray_cluster import connect
from jobs.cluster.tasks import RankGroupSize, Task

NUM_ROWS, NUM_COLUMNS, NUM_RATES = 2_000_000, 128, 32
BATCH, LARGE_BATCH = 8192, 65_536
NUM_BLOCKS = 8


def main() -> None:
    """Print the tables."""
    print(f"{machine()}; medians of 5 epochs; one thread to a rank\n")
    one, two = ranks(1, LARGE_BATCH), ranks(2, LARGE_BATCH)
    apart_s = apart(LARGE_BATCH)
    step_by_step = ranks(1, BATCH)
    work = f"{NUM_ROWS:,} × {NUM_COLUMNS}, {NUM_RATES} rates, one epoch"
    print_ratios(
        [
            Ratio(f"{work}, batch {LARGE_BATCH:,}: two ranks", "one rank", two["gang_s"], one["gang_s"], at_least=1.7),
            Ratio("the same: two processes that share nothing, half the rows each", "one rank", apart_s, one["gang_s"]),
            Ratio(
                f"the same, batch {BATCH:,}: one rank",
                "the engine without ranks",
                step_by_step["gang_s"],
                step_by_step["alone_s"],
                at_most=1.05,
            ),
        ]
    )
    step_s = step_by_step["alone_s"] / -(-NUM_ROWS // BATCH)
    print(f"DistributedDataParallel adds {duration(step_by_step['reduction_s'])} to a step of {duration(step_s)}\n")
    with connect("local") as cluster:
        times = [
            started(RankGroupRunner(cluster, RankGroupSize(2, cpus_per_worker=0.5)), count) for count in (1, NUM_BLOCKS)
        ]
    print(f"Ray Train with 2 ranks: 1 block {duration(times[0])}, {NUM_BLOCKS} blocks {duration(times[1])}\n")


def apart(batch_size: int) -> float:
    """Return the seconds of two processes beside each other that know nothing of one another: what two cores can do."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ranks, 1, batch_size, NUM_ROWS // 2) for _ in range(2)]
        return max(each.result()["alone_s"] for each in both)


def ranks(number: int, batch_size: int, num_rows: int = NUM_ROWS) -> dict[str, float]:
    """Return what the ranks of one machine report."""
    size = ("--standalone", "--nproc-per-node", str(number))
    shape = map(str, (num_rows, NUM_COLUMNS, NUM_RATES, batch_size))
    output = run([sys.executable, "-m", "torch.distributed.run", *size, "-m", "benchmarks.ddp_rank", *shape])
    found: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return found


def started(gangs: RankGroupRunner, num_blocks: int) -> float:
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
