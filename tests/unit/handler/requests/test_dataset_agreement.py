"""The dataset of a request: what the address, the body and the instances name must agree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handler.answers.answering import answer
from handler.models.fleet import Fleet
from handler.requests.payload import Request

Json = dict[str, Any]
PATH, QUERY = {"dataset": "north"}, {"parameters": {"dataset": "north"}}
ROW = [3, 1]


def tensors(**named: Any) -> list[Json]:
    """Return a BYTES tensor of one value for each name."""
    return [{"name": name, "shape": [1], "datatype": "BYTES", "data": [value]} for name, value in named.items()]


def bodies(dataset: str) -> list[tuple[Any, str]]:
    """Return a body of each form that names this dataset for its one instance, with its type."""
    as_json = "application/json"
    return [
        ({"dataset": dataset, "instances": [ROW]}, as_json),
        ({"dataset": [dataset], "instances": [ROW]}, as_json),
        ({"parameters": {"dataset": dataset}, "instances": [ROW]}, as_json),
        ({"instances": [{"area": 3, "depth": 1, "dataset": dataset}]}, as_json),
        ({"inputs": tensors(area="3", depth="1"), "parameters": {"dataset": dataset}}, as_json),
        ({"inputs": tensors(area="3", depth="1", dataset=dataset)}, as_json),
        ({"dataframe_records": [{"area": 3, "depth": 1, "dataset": dataset}]}, as_json),
        ({"dataframe_split": {"columns": ["area", "depth"], "data": [ROW]}, "params": {"dataset": dataset}}, as_json),
        (f"area,depth,dataset\n3,1,{dataset}\n", "text/csv"),
    ]


def ask(fleet: Fleet, body: Any, content_type: str, **address: Any) -> tuple[int, Json]:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    [answered] = answer(fleet, [Request(content, content_type, **address)])
    return answered.status, json.loads(answered.body)


@pytest.mark.parametrize("address", [PATH, QUERY])
@pytest.mark.parametrize("form", range(len(bodies(""))))
def test_a_body_that_names_another_dataset_than_the_address_is_refused(
    stores_fleet: Fleet, address: Json, form: int
) -> None:
    status, document = ask(stores_fleet, *bodies("south")[form], **address)
    assert status == 400
    assert "'north'" in document["message"]
    assert "'south'" in document["message"] or "a list of 1" in document["message"]


@pytest.mark.parametrize("address", [PATH, QUERY, PATH | QUERY])
@pytest.mark.parametrize("form", range(len(bodies(""))))
def test_a_body_that_names_the_dataset_of_the_address_is_answered(
    stores_fleet: Fleet, address: Json, form: int
) -> None:
    status, document = ask(stores_fleet, *bodies("north")[form], **address)
    assert status == 200, document
    assert "north" in json.dumps(document)


def test_an_address_with_two_datasets_is_refused(stores_fleet: Fleet) -> None:
    status, document = ask(stores_fleet, {"instances": [ROW]}, "", dataset="north", parameters={"dataset": "south"})
    assert status == 400
    assert "option 'dataset'" in document["message"]


def test_the_dataset_of_the_query_is_asked(stores_fleet: Fleet) -> None:
    for body, content_type in (({"instances": [ROW]}, ""), ("3,1\n", "text/csv")):
        assert ask(stores_fleet, body, content_type, **QUERY)[1]["model"]["dataset"] == "north"


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({"area": 3, "depth": 1, "dataset": "south"}, "instance 1: 'dataset' is 'south'"),
        ({"area": 3, "depth": 1, "dataset": [1]}, "instance 1: 'dataset' is a list of 1"),
        ({"area": 3, "depth": 1, "dataset": "north"}, None),
        ({"area": 3, "depth": 1, "dataset": None}, None),
        ({"area": 3, "depth": 1}, None),
    ],
)
def test_an_instance_that_names_another_dataset_than_the_body_is_refused(
    stores_fleet: Fleet, instance: Json, message: str | None
) -> None:
    instances = [{"area": 3, "depth": 1, "dataset": "north"}, instance]
    status, document = ask(stores_fleet, {"dataset": "north", "instances": instances}, "")
    assert (status, message is None) in ((200, True), (400, False)), document
    assert message is None or message in document["message"]


@pytest.mark.parametrize(
    ("beside", "within", "status"),
    [("north", "north", 200), ("north", "south", 400), (["north"], ["north"], 400)],
)
def test_an_option_that_is_given_twice_has_one_value(
    stores_fleet: Fleet, beside: object, within: object, status: int
) -> None:
    body = {"dataset": beside, "parameters": {"dataset": within}, "instances": [ROW]}
    assert ask(stores_fleet, body, "")[0] == status
