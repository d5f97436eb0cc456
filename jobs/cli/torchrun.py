"""Train a configuration on the ranks of torchrun, without Ray: `torchrun … -m jobs.cli.torchrun CONFIG`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from jobs.cluster.ddp import joined, own_device
from jobs.config import JobConfig, load_config
from jobs.engines.minibatch.ranks import Ranks
from jobs.errors import DONE, PARTIAL_FAILURE, JobError
from jobs.recipe import make_recipe
from jobs.sources.job_datasets import ReadDatasets, read_in_memory, reason_of
from jobs.training.datasets import train_dataset
from jobs.trials.documents import trial_documents


def main(arguments: Sequence[str]) -> int:
    """Train the datasets of a configuration on the ranks of torchrun, without Ray.

    The first rank prints every trial as JSON, and why the other datasets failed. Nothing is stored. Returns the exit
    code of `gridline train`.
    """
    try:
        path = Path(*arguments)
        config = load_config(path)
        recipe = make_recipe(config)
        gpu_wanted = recipe.size.on(torch.cuda.device_count()).use_gpu is True
        with joined(own_device(use_gpu=gpu_wanted)) as rank_group:
            read = read_in_memory(config, path.parent)
            failed = failed_datasets(config, read, rank_group)
            good = [dataset for dataset in read.datasets if dataset.name not in failed]
            trained = [train_dataset(dataset, recipe, ranks=rank_group) for dataset in good]
    except JobError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    if rank_group.rank == 0:
        trials = [
            {"dataset": each.name, "trials": [trial for _, trial in trial_documents(each.trials())]} for each in trained
        ]
        reasons = [{"dataset": name, "reason": reason} for name, reason in failed.items()]
        sys.stdout.write(json.dumps({"ranks": rank_group.number, "datasets": trials, "failed": reasons}) + "\n")
    return PARTIAL_FAILURE if failed else DONE


def failed_datasets(config: JobConfig, read: ReadDatasets, ranks: Ranks) -> dict[str, str]:
    """Return why datasets can't be trained, on each rank the same ones: those that some rank can't use."""
    names = [dataset.name for dataset in config.datasets]
    bad = torch.tensor([float(name in read.bad) for name in names])
    failed = {}
    for name, number in zip(names, ranks.total(bad, "the datasets that can't be used").tolist(), strict=True):
        if number:
            elsewhere = f"{number:.0f} of {ranks.number} ranks can't use it: see their messages"
            failed[name] = reason_of(name, read.bad[name]) if name in read.bad else elsewhere
            sys.stderr.write(f"{name}: failed: {failed[name]}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
