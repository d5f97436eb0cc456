"""One rank of a measured gang, one thread: `torchrun … -m benchmarks.ddp_rank ROWS COLUMNS RATES BATCH`.

The first rank prints the median seconds of an epoch: with the gang, and (of one rank alone) without; and of handing one
gradient to DistributedDataParallel.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch

from benchmarks.measuring import medians
from benchmarks.synthetic import rates_grid, regression, spaced_rates
from jobs.cluster.ddp import Reduction, joined
from jobs.engines.minibatch import engine as minibatch
from jobs.engines.minibatch.batches import Samples
from jobs.engines.minibatch.evaluation import MomentsEvaluator, Scores
from jobs.engines.minibatch.fitting import fit
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks, with_global_offset
from jobs.engines.moments import moments_of
from jobs.engines.settings import TrainingSettings


def main(num_rows: int, num_columns: int, num_rates: int, batch_size: int) -> None:
    """Train epochs on this rank's share of the rows."""
    torch.set_num_threads(1)
    settings = TrainingSettings(epochs=1, batch_size=batch_size)
    grid = rates_grid(spaced_rates(num_rates))
    with joined(torch.device("cpu")) as rank_group:
        own = num_rows * (rank_group.rank + 1) // rank_group.number - num_rows * rank_group.rank // rank_group.number
        data = regression(own, num_columns, seed=rank_group.rank)
        scores = Scores(MomentsEvaluator(moments_of(data.x_nd[:1000], data.y_n[:1000])))

        def epoch(ranks: Ranks) -> Callable[[], object]:
            samples = with_global_offset(Samples(data.x_nd, data.y_n), ranks)
            return lambda: fit(minibatch.prepare(samples, grid, settings, ranks), scores, settings)

        works = [epoch(rank_group), epoch(SINGLE_PROCESS)] if rank_group.number == 1 else [epoch(rank_group)]
        times = medians(*works, repeats=5)
        weight_qw = torch.zeros(num_columns + 2, num_rates)
        reduction, gradient_qw = Reduction(weight_qw), torch.ones_like(weight_qw)
        (hundred_s,) = medians(lambda: [reduction.add_up(gradient_qw) for _ in range(100)])
        if rank_group.rank == 0:
            found = dict(zip(("gang_s", "alone_s"), times, strict=False))
            print(json.dumps(found | {"reduction_s": hundred_s / 100}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
