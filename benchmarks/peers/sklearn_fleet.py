"""One SGDRegressor for each group and learning rate, joblib on all cores; a sample: `sklearn_fleet FILE GROUPS EPOCHS`.

Prints the seconds of the sample, once the groups are in memory and the workers are up, in two ways: `fit`, which gives
weights alone; and an epoch at a time by `partial_fit`, scored at the epochs at which gridline scores, which gives what
gridline gives: a loss curve, and the best epoch of it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq
from joblib import Parallel, delayed
from sklearn.linear_model import SGDRegressor

from benchmarks.tables import RATES
from jobs.engines.settings import evaluated_epochs

Fit = Callable[[np.ndarray, np.ndarray, float, int], float]


def fit_weights(x_nd: np.ndarray, y_n: np.ndarray, rate: float, epochs: int) -> float:
    """Return the score of one learning rate on one group."""
    model = SGDRegressor(learning_rate="constant", eta0=rate, penalty=None, max_iter=epochs, tol=None, random_state=0)
    return float(model.fit(x_nd, y_n).score(x_nd, y_n))


def fit_curve(x_nd: np.ndarray, y_n: np.ndarray, rate: float, epochs: int) -> float:
    """Return the best score over the evaluated epochs."""
    model = SGDRegressor(learning_rate="constant", eta0=rate, penalty=None, random_state=0)
    evaluated, best = set(evaluated_epochs(epochs, 64).tolist()), -np.inf
    for epoch in range(1, epochs + 1):
        model.partial_fit(x_nd, y_n)
        if epoch in evaluated:
            best = max(best, model.score(x_nd, y_n))
    return float(best)


def main(path: str, num_groups: int, epochs: int) -> None:
    """Fit the first groups at every learning rate."""
    frame = pq.read_table(path, filters=[("key", "<", num_groups)]).to_pandas()
    groups = [(rows.drop(columns=["y", "key"]).to_numpy(), rows["y"].to_numpy()) for _, rows in frame.groupby("key")]
    rates = [min(rate, 0.05) for rate in RATES]  # one row at a time, a larger rate diverges and only warns
    with Parallel(n_jobs=-1) as workers:

        def seconds(fit: Fit, epochs: int) -> float:
            started = time.perf_counter()
            workers(delayed(fit)(x_nd, y_n, rate, epochs) for x_nd, y_n in groups for rate in rates)
            return time.perf_counter() - started

        seconds(fit_weights, 1)
        found = {"weights_s": seconds(fit_weights, epochs), "curves_s": seconds(fit_curve, epochs)}
    print(json.dumps(found | {"models": len(groups) * len(rates)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
