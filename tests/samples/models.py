"""Small champions for tests of the ledger: a dataset's model predicts `value`, and its score is `score`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from handler.models.stack import Stack, Statistics
from handler.rows.model_card import Feature, ModelCard
from model_store.ledger.checkpoints import write_checkpoint, write_statistics
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from tests.samples.proposals import lowest_of_each

CARD = ModelCard(target="y", features=(Feature("area"),))


def sample_stack(values: list[float], with_statistics: bool = True) -> Stack:
    """Return a stack whose model i is area · 0 + values[i]."""
    m = len(values)
    nothing_mk = torch.full((m, 1), float("nan"), dtype=torch.float64)
    zeros_m1 = torch.zeros((m, 1), dtype=torch.float64)
    statistics = Statistics(nothing_mk, zeros_m1, zeros_m1 + 9.0, zeros_m1, torch.full((m,), 22.0, dtype=torch.float64))
    bias_m = torch.tensor(values, dtype=torch.float64)
    return Stack(CARD, zeros_m1.clone(), bias_m, statistics if with_statistics else None)


def store_rows(ledger: Ledger, values: Mapping[str, float], run_id: str = "run") -> list[dict[str, Any]]:
    """Store one checkpoint with a model for each dataset and return their rows of a champion table."""
    stack = sample_stack(list(values.values()))
    checkpoint = ledger.put_blob(write_checkpoint(stack), "safetensors")
    data = write_statistics(stack)
    assert data is not None
    statistics = ledger.put_blob(data, "safetensors")
    return [
        {
            "dataset": dataset,
            "checkpoint": checkpoint.sha256,
            "checkpoint_size": checkpoint.size_bytes,
            "statistics": statistics.sha256,
            "statistics_size": statistics.size_bytes,
            "row": at,
            "run_id": run_id,
            "score": value,
        }
        for at, (dataset, value) in enumerate(values.items())
    ]


def commit(ledger: Ledger, collection: str, values: Mapping[str, float], run_id: str = "run") -> Version | None:
    """Commit a model that predicts `value`, and whose score it is, for each dataset where it is better."""
    return ledger.transact(collection, lowest_of_each(store_rows(ledger, values, run_id), run_id))


def values_of(ledger: Ledger, collection: str, version: int | None = None) -> dict[str, float]:
    """Return what the models of a version predict, read through their checkpoints."""
    datasets = ledger.version(collection, version).table(["dataset"])["dataset"].to_pylist()
    found = {dataset: ledger.champion(collection, dataset, version) for dataset in datasets}
    return {dataset: champion.coefficients["intercept"] for dataset, champion in found.items()}
