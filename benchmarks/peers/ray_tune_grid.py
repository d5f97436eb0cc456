"""The article's grid in Ray Tune, as a whole process: `python -m benchmarks.peers.ray_tune_grid EPOCHS`."""

from __future__ import annotations

import sys
import tempfile

import ray
from ray import tune

from benchmarks.peers.plain_loops import train_full_batch
from benchmarks.synthetic import ARTICLE_RATES, article


def trial(config: dict[str, float]) -> None:
    """Train one learning rate, and report its loss."""
    data = article()
    (model,) = train_full_batch(data.x_nd, data.y_n, [config["learning_rate"]], int(config["epochs"]))
    loss = (model(data.x_nd)[:, 0] - data.y_n).square().mean().item()
    tune.report({"train_mse": loss})


def main(epochs: int) -> None:
    """Print the best learning rate."""
    ray.init(address="local", include_dashboard=False)  # as gridline starts it; else Tune joins what else runs here
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            trial,
            param_space={"learning_rate": tune.grid_search(list(ARTICLE_RATES)), "epochs": epochs},
            tune_config=tune.TuneConfig(metric="train_mse", mode="min"),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        print(results.get_best_result().config)


if __name__ == "__main__":
    main(int(sys.argv[1]))
