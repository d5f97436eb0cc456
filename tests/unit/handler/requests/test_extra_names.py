"""Names that are no features: refused, or ignored with a warning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handler.answers.answering import answer
from handler.models.fleet import Fleet
from handler.requests.payload import Request

Json = dict[str, Any]
ROW = {"area": 3, "depth": 1}
IGNORING = {"dataset": "north", "extra": "ignore"}


def ask(fleet: Fleet, body: Json) -> tuple[int, Json]:
    [answered] = answer(fleet, [Request(json.dumps(body).encode())])
    return answered.status, json.loads(answered.body)


def test_ignored_names_are_named_in_a_warning(stores_fleet: Fleet) -> None:
    _, plain = ask(stores_fleet, {"dataset": "north", "instances": [ROW] * 2})
    instances = [ROW | {"note": "x", "id": 7}, ROW | {"id": 8}]
    status, document = ask(stores_fleet, IGNORING | {"instances": instances})
    assert status == 200, document
    assert document.pop("warnings") == ["names that are no features were ignored: ['note', 'id']"]
    assert document == plain


def test_an_answer_without_ignored_names_has_no_warning(stores_fleet: Fleet) -> None:
    for instances in ([ROW], [[3, 1]]):
        status, document = ask(stores_fleet, IGNORING | {"instances": instances})
        assert status == 200
        assert "warnings" not in document


def test_ignored_tensors_are_named_in_the_parameters(stores_fleet: Fleet) -> None:
    row = {**ROW, "id": 7, "id 2": 8, "id 3": 9}
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in row.items()]
    status, document = ask(stores_fleet, {"inputs": inputs, "parameters": IGNORING})
    assert status == 200, document
    assert document["parameters"]["warnings"] == ["names that are no features were ignored: ['id', 'id 2', 'id 3']"]


def test_each_dataset_of_a_mixed_request_ignores_what_is_no_feature_of_it(stores_fleet: Fleet) -> None:
    instances = [{"dataset": "north", "color": "red"} | ROW, {"dataset": "east", "area": 2, "color": "red", "depth": 1}]
    status, document = ask(stores_fleet, {"instances": instances, "extra": "ignore"})
    assert status == 200, document
    assert "'color'" in document["warnings"][0]
    assert "'depth'" in document["warnings"][0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"dataset": "north", "instances": [ROW | {"id": 7}]}, "feature 'id' is not known"),
        ({"dataset": "north", "extra": "error", "instances": [ROW | {"id": 7}]}, "feature 'id' is not known"),
        (IGNORING | {"instances": [{"area": 3, "Depth": 1}]}, "'Depth' is not ignored, as feature 'depth' is absent"),
        (IGNORING | {"instances": [ROW, {"area": 3, "deph": 1}]}, "'deph' is not ignored"),
        (IGNORING | {"instances": [ROW | {"dataset": "south"}]}, "dataset"),
        ({"dataset": "north", "extra": "warn", "instances": [ROW]}, "'extra' is 'warn': give 'error', or 'ignore'"),
        ({"dataset": "north", "extra": ["ignore"], "instances": [ROW]}, "'extra' is"),
        (IGNORING | {"instances": [[3, 1, 2]]}, "has 3 values"),
        (IGNORING | {"instances": [{str(n): n for n in range(1001)} | ROW]}, "1001 names are no features"),
    ],
)
def test_what_is_not_ignored_is_refused(stores_fleet: Fleet, body: Json, message: str) -> None:
    status, document = ask(stores_fleet, body)
    assert status == 400
    assert message in document["message"]
