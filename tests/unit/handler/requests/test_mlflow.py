"""The bodies of MLflow's scoring server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handler.answers.answering import answer
from handler.models.fleet import Fleet
from handler.requests.payload import Request

Json = dict[str, Any]
ROWS = [[3, 1], [4, None]]


def ask(fleet: Fleet, body: Json, dataset: str | None = "north") -> tuple[int, Json]:
    [answered] = answer(fleet, [Request(json.dumps(body).encode(), dataset=dataset)])
    return answered.status, json.loads(answered.body)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["depth", "area"], "index": [5, 6], "data": [[1, 3], [None, 4]]}},
        {"dataframe_split": {"columns": ["area", "depth"], "data": [["3", "1"], ["4", ""]]}, "params": None},
        {"dataframe_split": {"data": ROWS}},
        {"dataframe_records": [{"area": 3, "depth": 1}, {"depth": None, "area": 4}]},
        {"inputs": {"area": [3, 4], "depth": [1, None]}},
        {"inputs": {"area": [3, 4], "depth": [[1], [None]]}, "params": {}},
        {"inputs": ROWS},
        {"inputs": [{"area": 3, "depth": 1}, {"area": 4}]},
    ],
)
def test_each_body_of_mlflow_is_answered_in_its_form(stores_fleet: Fleet, body: Json) -> None:
    _, plain = ask(stores_fleet, {"instances": ROWS})
    status, document = ask(stores_fleet, body)
    assert status == 200, document
    assert document == plain
    assert isinstance(document["predictions"], list)


def test_params_are_the_options(stores_fleet: Fleet) -> None:
    body = {"dataframe_records": [{"area": 3, "depth": 1, "id": 7}]}
    params = {"dataset": "north", "interval": 0.9, "extra": "ignore"}
    status, document = ask(stores_fleet, body | {"params": params}, None)
    assert status == 200, document
    assert document["intervals"]["level"] == 0.9
    assert document["warnings"]


def test_one_row_of_scalars_is_one_instance(stores_fleet: Fleet) -> None:
    status, document = ask(stores_fleet, {"inputs": {"area": 3, "depth": 1}})
    assert status == 200, document
    assert len(document["predictions"]) == 1


SPLIT: Json = {"columns": ["area", "depth"], "data": ROWS}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"dataframe_split": 3}, "'dataframe_split' is a number"),
        ({"dataframe_split": {}}, "'data' of 'dataframe_split' is not a list of lists"),
        ({"dataframe_split": {"data": [3]}}, "'data' of 'dataframe_split' is not a list of lists"),
        ({"dataframe_split": {"columns": ["area"], "data": []}}, "no instances"),
        ({"dataframe_split": SPLIT | {"columns": [0, 1]}}, "name the columns of the DataFrame"),
        ({"dataframe_split": SPLIT | {"columns": ["area", "area"]}}, "repeats a name"),
        ({"dataframe_split": SPLIT | {"columns": ["area"]}}, "instance 0 has 2 values"),
        ({"dataframe_split": SPLIT | {"columns": ["area", "dept"]}}, "did you mean 'depth'"),
        ({"dataframe_split": SPLIT | {"columns": list("abcdefgh")}}, "'dataframe_split' has 8 columns"),
        ({"dataframe_split": SPLIT | {"dtypes": []}}, "key 'dtypes' is not known"),
        ({"dataframe_split": SPLIT, "instances": []}, "key 'instances' is not known"),
        ({"dataframe_split": SPLIT, "params": {"x": 1}}, "key 'x' is not known"),
        (SPLIT, "send it as {'dataframe_split'"),
        ({"dataframe_records": {"area": 3}}, "'dataframe_records' is an object"),
        ({"dataframe_records": []}, "no instances"),
        ({"dataframe_records": [3]}, "instance 0 is 3"),
        ({"inputs": 3}, "'inputs' is not a list of tensors"),
        ({"inputs": [3, 1]}, "'inputs' is not a list of tensors"),
        ({"inputs": {}}, "'inputs' is not a list of tensors"),
        ({"inputs": {"area": [3, 4], "depth": [1]}}, "'inputs' has 2 values for 'area', and 1 for 'depth'"),
        ({"inputs": {"area": [], "depth": []}}, "no instances"),
    ],
)
def test_a_body_that_is_wrong_is_refused(stores_fleet: Fleet, body: Json, message: str) -> None:
    status, document = ask(stores_fleet, body)
    assert status == 400, document
    assert message in document["message"]
