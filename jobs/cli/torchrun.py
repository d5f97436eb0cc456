"""Train a configuration on the ranks of torchrun, without Ray: `torchrun … -m jobs.cli.torchrun CONFIG`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from jobs.cluster.ddp import joined, own_device
from jobs.config import load_config
from jobs.errors import DONE, JobError
from jobs.recipe import make_recipe
from jobs.sources.job_datasets import read_datasets
from jobs.training.datasets import train_dataset
from jobs.trials.documents import trial_documents


def main(arguments: Sequence[str]) -> int:
    """Train the datasets of a configuration on the ranks of torchrun, without Ray.

    The first rank prints every trial as JSON. Nothing is stored. Returns the exit code of `gridline train`.
    """

    try:
        path = Path(*arguments)
        config = load_config(path)
        recipe = make_recipe(config)
        gpu_wanted = recipe.size.on(torch.cuda.device_count()).use_gpu is True
        with joined(own_device(use_gpu=gpu_wanted)) as rank_group:
            trained = [
                train_dataset(dataset, recipe, ranks=rank_group) for dataset in read_datasets(config, path.parent)
            ]
    except JobError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    if rank_group.rank == 0:
        trials = [
            {"dataset": each.name, "trials": [trial for _, trial in trial_documents(each.trials())]} for each in trained
        ]
        sys.stdout.write(json.dumps({"ranks": rank_group.number, "datasets": trials}) + "\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
