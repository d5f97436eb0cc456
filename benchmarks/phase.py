"""A fleet on a Ray that is up, as a process of its own: `python -m benchmarks.phase JOB WARM_JOB`.

Prints the seconds from the parquet file to the trained models of every group; Ray, its workers and what they import
are there before.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from jobs.cluster.ray_cluster import Cluster, connect
from jobs.config import load_config
from jobs.groups.run import groups_job, train_groups_of
from jobs.progress import Progress
from jobs.recipe import make_recipe, policy_of, run_limits_of


def main(path: Path, warm_up: Path) -> None:
    """Train the small job, so that all is loaded, then the other."""
    with connect("local") as cluster:
        train(cluster, warm_up)
        print(json.dumps({"seconds": train(cluster, path)}))


def train(cluster: Cluster, path: Path) -> float:
    """Return the seconds that the fleet of a job takes."""
    config = load_config(path)
    (spec,) = config.datasets
    started = time.perf_counter()
    job = groups_job(spec, config.training, make_recipe(config), policy_of(config, spec), path.parent, None)
    train_groups_of(cluster, job, run_limits_of(config.training), Progress(quiet=True))
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
