"""Stores of models whose predictions are easy to compute, and the command line that is asked about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handler.answers.answering import OK, answer
from handler.description.description import describe
from handler.models.fleet import Fleet
from handler.models.stack import Stack, Statistics
from handler.requests.payload import Request
from handler.rows.model_card import Feature, ModelCard
from jobs.cli import main
from model_store import open_ledger
from model_store.deployment.errors import PredictionRefusedError
from tests.samples.fleets import commit_models

A, B = Feature("a"), Feature("b", missing="mean")
CODE = Feature("code", kind="categorical", levels=("001", "02", "1"))
FILL = 5.0


def model(card: ModelCard, weight_d: list[float], bias: float, *, statistics: bool = True) -> Stack:
    """Return the model Σ weight · column + bias; it fills 5, and has intervals if it has `statistics`."""
    k, d = len(card.features), len(weight_d)
    fill = [FILL if feature.fills else np.nan for feature in card.features]
    rows = ([fill], np.full((1, k), -9.0), np.full((1, k), 9.0), np.zeros((1, d)), [40.0])
    extra = (np.eye(d + 1)[None], [0.25]) if statistics else ()
    tensors = (torch.tensor(np.asarray(row), dtype=torch.float64) for row in (*rows, *extra))
    weight_md = torch.tensor([weight_d], dtype=torch.float64)
    return Stack(card, weight_md, torch.tensor([bias], dtype=torch.float64), Statistics(*tensors))


def plain() -> Stack:
    """Return 2 a + 3 b + 1, where a missing b is 5."""
    return model(ModelCard("y", (A, B)), [2.0, 3.0], 1.0)


def coded() -> Stack:
    """Return a + (20 for code 02, 5 for code 1)."""
    return model(ModelCard("y", (A, CODE)), [1.0, 20.0, 5.0], 0.0)


def groups(*names: str, by: tuple[str, ...], prefix: str = "") -> dict[str, Stack]:
    """Return the models a + 100, a + 200, … of groups with these names, by the columns `by` after a prefix."""
    card = ModelCard("y", (A,), group_by=by, group_prefix=prefix)
    return {name: model(card, [1.0], 100.0 * (at + 1)) for at, name in enumerate(names)}


def commit(folder: Path, models: Mapping[str, Stack]) -> Path:
    """Commit models as a version of the collection `t`, in the store of this folder."""
    commit_models(open_ledger(str(folder / "store")), "t", models)
    return folder


def gridline(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Return the exit code of `gridline predict t` in this folder."""
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main(["predict", "t", "--store", str(folder / "store"), *arguments])
    return int(str(ended.value.code))


class LocalEndpoint:
    """An endpoint without a server."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.num_requests = 0

    def describe(self, collection: str, version: int | None) -> dict[str, Any]:
        assert (collection, version) == (self.fleet.collection, None)
        return describe(self.fleet)

    def predict(self, collection: str, request: Mapping[str, Any], version: int | None) -> dict[str, Any]:
        assert (collection, version) == (self.fleet.collection, None)
        self.num_requests += 1
        [answered] = answer(self.fleet, [Request(json.dumps(request).encode())])
        document: dict[str, Any] = json.loads(answered.body)
        if answered.status != OK:
            raise PredictionRefusedError(document["message"], answered.status)
        return document
