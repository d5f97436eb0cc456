"""The OpenAPI document is valid, and its examples are answered as they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from handler.answers.answering import answer
from handler.description.description import describe_dataset
from handler.description.openapi import MAX_CARDS, openapi
from handler.models.fleet import Fleet
from handler.models.stack import Stack, Statistics
from handler.requests.payload import Request
from handler.rows.model_card import Feature, ModelCard
from model_store import open_ledger
from model_store.archives.version_fleet import fleet_of_version
from tests.samples.fleets import commit_models, sample_stores
from tests.samples.openapi import assert_fits, assert_valid

FEATURES = {
    "number": Feature("a"),
    "number in a domain": Feature("a", transform="sqrt"),
    "number above a bound": Feature("a", transform="log1p", missing="median"),
    "category": Feature("c", kind="categorical", levels=("(missing)", "(other)", "001", "x y"), missing="level"),
    "open category": Feature("c", kind="categorical", levels=("(other)", "u"), unseen="other"),
    "only rare ones": Feature(
        "c", kind="categorical", levels=("(missing)", "(other)"), missing="level", unseen="other"
    ),
    "many levels": Feature("c", kind="categorical", levels=tuple(f"l{at:04d}" for at in range(1000))),
    "date": Feature("d", kind="datetime", parts=("days",), missing="mean", origin=19_000.0),
}


def model(card: ModelCard, least: float = 1.0, greatest: float = 20_000.0) -> Stack:
    """Return a model of weights 0, whose training rows had these values."""
    d = len(card.columns)
    is_number = [feature.kind != "categorical" for feature in card.features]
    least_k, greatest_k = (np.where(is_number, value, np.nan) for value in (least, greatest))
    fill_k = np.where([feature.fills for feature in card.features], 3.0, np.nan)
    rows = (fill_k, least_k, greatest_k, np.zeros(d), 40.0)
    known = Statistics(*(torch.tensor(np.asarray(row)[None], dtype=torch.float64) for row in rows))
    bias_m = torch.ones(1, dtype=torch.float64) if card.bias else None
    return Stack(card, torch.zeros(1, d, dtype=torch.float64), bias_m, known)


@pytest.fixture
def fleet_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def made(models: Mapping[str, Stack]) -> Fleet:
        ledger = open_ledger(str(tmp_path_factory.mktemp("store")))
        return fleet_of_version(commit_models(ledger, "plants", models))

    return made


def check(fleet: Fleet) -> dict[str, Any]:
    """Assert that a document is valid, and that its example has its answer; return it."""
    document: dict[str, Any] = json.loads(json.dumps(openapi(fleet), allow_nan=False))
    assert_valid(document)
    post = document["paths"]["/predictions/plants"]["post"]
    asked = post["requestBody"]["content"]["application/json"]["example"]
    [answered] = answer(fleet, [Request(json.dumps(asked).encode())])
    assert answered.status == 200, answered.body
    assert post["responses"]["200"]["content"]["application/json"]["example"] == json.loads(answered.body)
    assert_fits(document, "Request", asked)
    assert_fits(document, "Answer", json.loads(answered.body))
    return document


def test_the_document_of_several_cards_is_valid(fleet_of: Any) -> None:
    document = check(fleet_of(sample_stores()))
    assert [name for name in document["components"]["schemas"] if name.startswith("Instance")] == [
        *("Instance1", "Instance2", "Instance3")
    ]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert set(document["paths"]) == {
        "/predictions/plants",
        "/predictions/plants/1/openapi.json",
        "/predictions/plants/1/{dataset}",
        "/explanations/plants",
        "/models/plants/invoke",
        "/v1/models/plants:predict",
        "/v2/models/plants/infer",
    }


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", FEATURES)
def test_the_example_of_each_kind_of_feature_is_answered(name: str, bias: bool, fleet_of: Any) -> None:
    check(fleet_of({"only": model(ModelCard("y", (FEATURES[name], Feature("b")), bias))}))


def test_the_document_of_many_cards_is_bounded(fleet_of: Any) -> None:
    cards = [ModelCard("y", (Feature(f"x{at}"),)) for at in range(MAX_CARDS + 1)]
    document = check(fleet_of({f"d{at:03d}": model(card) for at, card in enumerate(cards)}))
    assert document["components"]["schemas"]["Instance"]["type"] == "object"
    assert len(json.dumps(document)) < 20_000


def test_an_instance_has_the_types_the_levels_and_the_ranges_of_training(fleet_of: Any) -> None:
    features = [FEATURES[name] for name in ("number above a bound", "category", "date")]
    fleet = fleet_of({"a": model(ModelCard("y", tuple(features)), 1.0, 9.0)})
    schema = describe_dataset(fleet, "a")["schema"]
    a, c, d = (schema["properties"][name] for name in "acd")
    assert (a["type"], a["exclusiveMinimum"]) == (["number", "null"], -1.0)
    assert a["x-trained-range"] == {"minimum": 1.0, "maximum": 9.0}
    assert (c["type"], c["enum"]) == (["string", "null"], ["001", "x y", None])
    assert d["x-trained-range"] == {"minimum": "1970-01-02", "maximum": "1970-01-10"}
    assert schema["required"] == []
    jsonschema.validate({"a": None, "c": "001", "d": "2026-01-31"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": -1.0, "c": "001", "d": "2026-01-31"}, schema)


def test_the_range_of_a_card_is_that_of_all_its_datasets(fleet_of: Any) -> None:
    card = ModelCard("y", (Feature("a"),))
    document = check(fleet_of({"low": model(card, 1.0, 5.0), "high": model(card, 4.0, 9.0)}))
    instance = document["components"]["schemas"]["Instance"]
    assert instance["properties"]["a"]["x-trained-range"] == {"minimum": 1.0, "maximum": 9.0}
    assert instance["description"].endswith("Of 2 datasets, such as 'high', 'low'.")
