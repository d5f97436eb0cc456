"""What a trial costs in Ray Tune though it does nothing: `python -m benchmarks.peers.ray_tune_trials TRIALS`.

Prints the seconds of that many trials beyond those of one run of two trials: starting Ray and Tune is not counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import ray
from ray import tune


def trial(config: dict[str, int]) -> None:
    """Report a number."""
    tune.report({"loss": 0.0})


def run(num_trials: int) -> float:
    """Return the seconds of a run."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        tune.Tuner(
            trial,
            param_space={"number": tune.grid_search(list(range(num_trials)))},
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        return time.perf_counter() - started


def main(num_trials: int) -> None:
    """Run few trials, then many."""
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    few_s = run(2)
    print(json.dumps({"seconds": run(2 + num_trials) - few_s, "trials": num_trials}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
