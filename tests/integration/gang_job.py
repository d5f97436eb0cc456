"""A driver with gangs of two ranks on the Ray of RAY_ADDRESS; prints what became of its tasks as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

from jobs.cluster.rank_groups import RankGroupRunner
from jobs.cluster.ray_cluster import connect
from jobs.cluster.tasks import RankGroupSize, RunLimits, Task
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.engines.minibatch.rows import Rows
from jobs.engines.settings import TrainingSettings
from jobs.errors import ClusterError, DataError
from tests.oracles import grid

SETTINGS = TrainingSettings(epochs=5, batch_size=64)


def fitted(seed: int, ranks: Ranks) -> list[float]:
    """Return the weights of a regression on made-up rows."""
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(501, 2, generator=generator)
    rows = Rows(x_nd, x_nd.sum(1)).share(ranks)
    return block_training.train(rows, grid([0.05]), SETTINGS).weight_mgp.flatten().tolist()


def fitted_after_a_loss(seed: int, marker: str, ranks: Ranks) -> list[float]:
    """The same; the first time, a rank is killed."""
    if not Path(marker).exists():
        return lost(seed, ranks, marker)
    return fitted(seed, ranks)


def lost(seed: int, ranks: Ranks, marker: str | None = None) -> list[float]:
    """Kill a rank, and have the other wait for it."""
    if ranks.rank == 1:
        if marker:
            Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return fitted(seed, ranks)


def refused(ranks: Ranks) -> None:
    raise DataError(f"these rows are of no use to {ranks.number} ranks")


def main(folder: Path) -> None:
    tasks = [
        Task("first", fitted, (1,)),
        Task("refused", refused, ()),
        Task("lost once", fitted_after_a_loss, (2, str(folder / "lost"))),
        Task("lost always", lost, (2,)),
        Task("last", fitted, (3,)),
    ]
    with connect() as cluster:
        outcomes = list(RankGroupRunner(cluster, RankGroupSize(2)).run(tasks, RunLimits(max_failures=1)))
        try:
            list(RankGroupRunner(cluster, RankGroupSize(3)).run(tasks))
        except ClusterError as exc:
            too_many = str(exc)
    document = {
        "outcomes": {each.key: each.value if each.error is None else str(each.error) for each in outcomes},
        "failures": {each.key: each.failures for each in outcomes},
        "alone": [fitted(seed, SINGLE_PROCESS) for seed in (1, 2, 3)],
        "too many": too_many,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
