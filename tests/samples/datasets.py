"""Small datasets and recipes, as the tests of what lies around the engines need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from handler.rows.model_card import Feature, ModelCard
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import EngineName
from jobs.recipe import Recipe
from jobs.sources.dataset import Dataset, fingerprint
from jobs.training.datasets import TrainedDatasets, train_dataset
from tests.oracles import grid


def dataset(name: str = "a", *, num_rows: int = 30, seed: int = 0, folds: Sequence[int] | None = None) -> Dataset:
    """Return a dataset of two features, u and v; `folds` are repeated over its rows."""
    random = np.random.default_rng(seed)
    x_nd = random.normal([1.0, -2.0], size=(num_rows, 2))
    y_n = x_nd @ [1.5, -0.5] + 3.0 + 0.2 * random.normal(size=num_rows)
    card = ModelCard("y", (Feature("u"), Feature("v")), bias=True)
    return Dataset(
        name=name,
        card=card,
        fill_k=np.full(2, np.nan),
        feature_min_k=x_nd.min(0),
        feature_max_k=x_nd.max(0),
        x_nd=x_nd,
        y_n=y_n,
        fold_n=None if folds is None else np.resize(np.array(folds, dtype=np.int16), num_rows),
        fingerprint=fingerprint(card, x_nd, y_n),
    )


def recipe(rates: Sequence[float] = (0.01, 0.1), engine: EngineName = "closed_form", **settings: Any) -> Recipe:
    """Return a recipe for the learning rates."""
    return Recipe(
        engine=engine,
        reason="as the test says",
        settings=TrainingSettings(**({"epochs": 200} | settings)),
        hyperparameters=grid(rates),
        automatic_rates=False,
        inference_statistics=True,
    )


def trained(data: Dataset | None = None, rates: Sequence[float] = (0.01, 0.1), **values: Any) -> TrainedDatasets:
    """Return a dataset trained at the learning rates."""
    return train_dataset(data or dataset(), recipe(rates, **values))
