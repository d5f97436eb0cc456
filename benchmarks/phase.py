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
from jobs.groups.parts import Parts
from jobs.groups.run import train_groups_of
from jobs.progress import Progress
from jobs.recipe import policies_of, run_limits_of
from jobs.sources.job_datasets import resolve_job
from jobs.trials.earlier_runs import EarlierRuns
from model_store import open_ledger
from model_store.claims.executions import look_up


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
    resolved = resolve_job(config, path.parent)
    ledger = open_ledger(str(path.parent / "store"))
    runs = EarlierRuns(ledger, look_up(ledger.objects, config.name, "job", "run"), read_only=True)
    parts = Parts(resolved.scanned[0], resolved.recipe, policies_of(config)[spec.name], runs)
    outcome = train_groups_of(lambda: cluster, parts, run_limits_of(config.training), Progress(quiet=True))
    if outcome.error is not None:
        raise outcome.error
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
