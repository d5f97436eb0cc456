"""Collections of least-squares fits for tests of serving, in a store as training would leave them.

`stores` has datasets of three model cards: north and south take area and depth (a missing depth is filled), east takes
area and a color (a level never seen counts as the first), and bare takes area and has no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from handler.models.stack import Stack, Statistics
from handler.rows.encoding import encode
from handler.rows.model_card import Feature, ModelCard
from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.checkpoints import write_checkpoint, write_statistics
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft, Version

AREA = Feature("area")
DEPTH = Feature("depth", transform="log1p", missing="mean")
COLOR = Feature("color", kind="categorical", levels=("blue", "green", "red"), unseen="reference")
DEEP = ModelCard("y", (AREA, DEPTH))
COLORED = ModelCard("y", (AREA, COLOR))
PLAIN = ModelCard("y", (Feature("area", transform="sqrt"),), bias=False)
NUM_ROWS = 40


def fitted(card: ModelCard, seed: int, shift: float = 0.0) -> Stack:
    """Return the least-squares fit of random data, with its statistics; `shift` moves every prediction of it."""
    random = np.random.default_rng(seed)
    columns: dict[str, np.ndarray[Any, Any]] = {
        "area": random.uniform(1, 10, NUM_ROWS),
        "depth": random.uniform(0, 5, NUM_ROWS),
        "color": random.choice(np.array(["blue", "green", "red"], dtype=object), NUM_ROWS),
    }
    x_nd = encode(card, columns)
    y_n = x_nd @ random.normal(size=x_nd.shape[1]) + 2.0 + random.normal(scale=0.3, size=NUM_ROWS)
    x_np = np.column_stack([x_nd, np.ones(NUM_ROWS)]) if card.bias else x_nd
    inverse_pp = np.linalg.inv(x_np.T @ x_np)
    weight_p = inverse_pp @ x_np.T @ y_n
    variance = float(((y_n - x_np @ weight_p) ** 2).sum() / (NUM_ROWS - x_np.shape[1]))
    raw_nk = np.column_stack([_raw(feature, columns) for feature in card.features])
    fill_k = np.where([feature.missing == "mean" for feature in card.features], raw_nk.mean(axis=0), np.nan)
    rows = (fill_k, raw_nk.min(axis=0), raw_nk.max(axis=0), x_nd.mean(axis=0), NUM_ROWS, inverse_pp, variance)
    statistics = Statistics(*(torch.tensor(np.asarray(row)[None], dtype=torch.float64) for row in rows))
    d = x_nd.shape[1]
    bias_m = torch.tensor([weight_p[d] + shift], dtype=torch.float64) if card.bias else None
    return Stack(card, torch.tensor(weight_p[None, :d], dtype=torch.float64), bias_m, statistics)


def _raw(feature: Feature, columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    return columns[feature.name] if feature.kind == "numeric" else np.full(NUM_ROWS, np.nan)


def sample_stores(shift: float = 0.0) -> dict[str, Stack]:
    """Return the models of the collection `stores`, by dataset."""
    bare = fitted(PLAIN, 4)
    return {
        "north": fitted(DEEP, 1, shift),
        "south": fitted(DEEP, 2, shift),
        "east": fitted(COLORED, 3, shift),
        "bare": Stack(bare.card, bare.weight_md, bare.bias_m, None),
    }


def commit_models(ledger: Ledger, collection: str, models: Mapping[str, Stack]) -> Version:
    """Commit these models as the next version of a collection, whatever is there."""
    rows = [_row(ledger, dataset, stack) for dataset, stack in models.items()]
    version = ledger.transact(collection, lambda head: Draft(rows_to_table(rows), "run"))
    assert version is not None
    return version


def _row(ledger: Ledger, dataset: str, stack: Stack) -> dict[str, Any]:
    checkpoint = ledger.put_blob(write_checkpoint(stack), "safetensors")
    data = write_statistics(stack)
    statistics = None if data is None else ledger.put_blob(data, "safetensors")
    return {
        "dataset": dataset,
        "checkpoint": checkpoint.sha256,
        "checkpoint_size": checkpoint.size_bytes,
        "statistics": statistics and statistics.sha256,
        "statistics_size": statistics and statistics.size_bytes,
        "row": 0,
        "run_id": "run",
        "trained_at": "2026-01-01T00:00:00+00:00",
        "hyperparameters": '{"learning_rate": 0.01}',
        "metric": "train_mse",
        "score": 0.1,
        "r2": 0.9,
        "num_rows": NUM_ROWS,
    }
