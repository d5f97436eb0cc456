"""The same by scikit-learn: one SGDRegressor for each learning rate, one epoch each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.linear_model import SGDRegressor


def train(x_nd: np.ndarray, y_n: np.ndarray, rates: Iterable[float]) -> list[SGDRegressor]:
    """Return a model for each learning rate, by one shuffled pass over the rows."""
    models = []
    for rate in rates:
        model = SGDRegressor(learning_rate="constant", eta0=rate, penalty=None, random_state=0)
        models.append(model.partial_fit(x_nd, y_n))
    return models
