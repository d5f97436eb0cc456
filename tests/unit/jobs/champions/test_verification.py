"""`verify: true`: the champion against a loop that shares nothing with the engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.champions.selection import best_points
from jobs.champions.verification import verify
from jobs.engines.settings import Schedule
from jobs.recipe import Policy
from jobs.training.datasets import TrainedDatasets, train_dataset
from tests.samples.datasets import dataset, recipe

CASES: dict[str, dict[str, Any]] = {
    "closed form": {},
    "normalized": {"normalize": True},
    "minibatch": {"engine": "minibatch", "batch_size": 7, "epochs": 40},
    "schedule": {"engine": "minibatch", "schedule": Schedule("cosine"), "epochs": 40},
    "adam": {"engine": "minibatch", "optimizer": "adam", "batch_size": 7, "normalize": True, "epochs": 40},
    "rmsprop": {"engine": "minibatch", "optimizer": "rmsprop", "batch_size": 7, "alpha": 0.9, "epochs": 40},
    "huber": {"engine": "minibatch", "loss": "huber", "epochs": 40},
    "huber in scaled units": {"engine": "minibatch", "loss": "huber", "normalize": True, "epochs": 40},
    "through the origin": {"engine": "minibatch", "bias": False, "epochs": 40},
}


def best(trained: TrainedDatasets) -> int:
    return int(best_points(trained, Policy("train_mse", "min")))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("folds", [None, [0, -1, -1], [0, 1, 2]], ids=["all rows", "a fraction", "folds"])
def test_verification_finds_the_champion_again(case: str, folds: list[int] | None) -> None:
    data, way = dataset(folds=folds), recipe(**CASES[case])
    data = replace(data, card=replace(data.card, bias=way.settings.bias))
    trained = train_dataset(data, way)
    differences = verify(data, trained, best(trained), way)
    assert differences["max_weight_difference"] < 1e-4
    assert differences["max_prediction_difference"] < 1e-4


def test_verification_tells_how_far_a_wrong_model_is() -> None:
    data, way = dataset(), recipe()
    trained = train_dataset(data, way)
    result = trained.result
    weight_mgp = result.weight_mgp.clone()
    weight_mgp[..., -1] += 0.5
    wrong = replace(trained, result=replace(result, weight_mgp=weight_mgp))
    differences = verify(data, wrong, best(trained), way)
    assert differences["max_weight_difference"] == pytest.approx(0.5, abs=1e-4)
    assert differences["max_prediction_difference"] == pytest.approx(0.5, abs=1e-4)
