"""One least squares for each group by Ray Data, as a process: `python -m benchmarks.peers.ray_data_groups FILE`.

The rows are shuffled by `groupby`, and each group is a batch of `map_groups`.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import ray


def fit(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights of a group, the intercept last."""
    names = sorted(name for name in rows if name.startswith("x"))
    x_np = np.column_stack([*(rows[name] for name in names), np.ones(len(rows["y"]))])
    weight_p = np.linalg.lstsq(x_np, rows["y"], rcond=None)[0]
    return {"key": rows["key"][:1], "weights": weight_p[None]}


def main(path: str) -> None:
    """Fit every group."""
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    fitted = ray.data.read_parquet(path).groupby("key").map_groups(fit, batch_format="numpy").materialize()
    print(json.dumps({"groups": fitted.count()}))


if __name__ == "__main__":
    main(sys.argv[1])
