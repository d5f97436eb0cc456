from __future__ import annotations

import json

import pytest

from handler.answers.answering import answer
from handler.description.description import describe, describe_dataset, example
from handler.errors import NotServedError
from handler.models.fleet import Fleet
from handler.requests.payload import Request
from tests.samples.fleets import sample_stores


def test_describe_names_version_datasets_and_features(stores_fleet: Fleet) -> None:
    found = describe(stores_fleet)
    assert (found["collection"], found["version"], found["num_datasets"]) == ("stores", 1, 4)
    assert found["datasets"] == ["bare", "east", "north", "south"]
    assert sorted(feature["name"] for model in found["models"] for feature in model["features"]) == [
        *("area", "area", "area", "color", "depth")
    ]


def test_describe_dataset_gives_coefficients_and_what_training_reported(stores_fleet: Fleet) -> None:
    found = describe_dataset(stores_fleet, "north")
    stack = sample_stores()["north"]
    assert list(found["coefficients"].values()) == [float(stack.bias_m[0]), *stack.weight_md[0].tolist()]  # type: ignore[index]
    assert list(found["coefficients"]) == ["intercept", "area", "depth"]
    assert found["training"]["hyperparameters"] == {"learning_rate": 0.01}
    assert found["training"]["num_rows"] == 40
    assert found["training"]["trained_at"].startswith("2026")
    json.dumps(found, allow_nan=False)


def test_describe_dataset_refuses_an_unknown_one(stores_fleet: Fleet) -> None:
    with pytest.raises(NotServedError):
        describe_dataset(stores_fleet, "west")


def test_the_example_is_a_request_that_gets_its_answer(stores_fleet: Fleet) -> None:
    found = example(stores_fleet)
    [answered] = answer(stores_fleet, [Request(json.dumps(found["request"]).encode())])
    assert answered.status == 200
    assert json.loads(answered.body) == found["answer"]
