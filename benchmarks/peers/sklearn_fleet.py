"""One SGDRegressor for each group and learning rate, joblib on all cores; a sample: `sklearn_fleet FILE GROUPS EPOCHS`.

Prints the seconds of the sample, once the groups are in memory and the workers are up.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pyarrow.parquet as pq
from joblib import Parallel, delayed
from sklearn.linear_model import SGDRegressor

from benchmarks.tables import RATES


def fit(x_nd: np.ndarray, y_n: np.ndarray, rate: float, epochs: int) -> float:
    """Return the score of one learning rate on one group."""
    model = SGDRegressor(learning_rate="constant", eta0=rate, penalty=None, max_iter=epochs, tol=None, random_state=0)
    return float(model.fit(x_nd, y_n).score(x_nd, y_n))


def main(path: str, num_groups: int, epochs: int) -> None:
    """Fit the first groups at every learning rate."""
    frame = pq.read_table(path, filters=[("key", "<", num_groups)]).to_pandas()
    groups = [(rows.drop(columns=["y", "key"]).to_numpy(), rows["y"].to_numpy()) for _, rows in frame.groupby("key")]
    rates = [min(rate, 0.05) for rate in RATES]  # one row at a time, a larger rate diverges and only warns
    with Parallel(n_jobs=-1) as workers:
        workers(delayed(fit)(*groups[0], rate, 1) for rate in rates)
        started = time.perf_counter()
        workers(delayed(fit)(x_nd, y_n, rate, epochs) for x_nd, y_n in groups for rate in rates)
        print(json.dumps({"seconds": time.perf_counter() - started, "models": len(groups) * len(rates)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
