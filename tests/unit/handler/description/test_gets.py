"""A GET is answered by what its address asks for, and refused in one line where that has no answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from handler.requests.payload import Field, Request


def get(fleet: Fleet, dataset: str | None = None, /, **parameters: str) -> tuple[int, dict[str, Any]]:
    [answered] = Endpoint(fleet).respond([Request(method="GET", dataset=dataset, parameters=parameters)])
    return answered.status, json.loads(answered.body)


def test_a_get_lists_pages_of_datasets(stores_fleet: Fleet) -> None:
    status, first = get(stores_fleet, limit="3")
    assert (status, first["datasets"], first["next"], first["num_datasets"]) == (
        200,
        ["bare", "east", "north"],
        "north",
        4,
    )
    assert get(stores_fleet, limit="3", after="north")[1]["datasets"] == ["south"]
    assert get(stores_fleet, prefix="n")[1]["datasets"] == ["north"]
    assert get(stores_fleet, contains="st")[1]["datasets"] == ["east"]
    nothing = get(stores_fleet, contains="x")[1]
    assert (nothing["datasets"], nothing["next"]) == ([], None)


def test_a_get_describes_a_dataset_of_the_path_or_of_the_query(stores_fleet: Fleet) -> None:
    assert (
        get(stores_fleet, "north") == get(stores_fleet, dataset="north") == get(stores_fleet, "north", dataset="north")
    )


def test_a_get_has_the_openapi_document_by_the_path_or_the_query(stores_fleet: Fleet) -> None:
    status, document = get(stores_fleet, "openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert get(stores_fleet, openapi="") == (200, document)


@pytest.mark.parametrize(
    ("dataset", "parameters", "message"),
    [
        (
            None,
            {"offset": "3"},
            "parameter 'offset' is not known: those of a GET are ['after', 'contains', 'dataset', ",
        ),
        (None, {"body": "x"}, "parameter 'body' is not known"),
        ("north", {"limit": "3"}, "the address names a dataset, which has no pages: leave 'limit' out"),
        ("north", {"dataset": "south"}, "the address names dataset 'north', and a parameter another: give one"),
        ("openapi.json", {"limit": "3"}, "the OpenAPI document has no parameters: leave 'limit' out"),
        (None, {"limit": "many"}, "parameter 'limit' is 'many'"),
    ],
)
def test_a_get_with_what_has_no_answer_is_refused(
    stores_fleet: Fleet, dataset: str | None, parameters: dict[str, str], message: str
) -> None:
    status, document = get(stores_fleet, dataset, **parameters)
    assert (status, document["code"]) == (400, 400)
    assert document["message"].startswith(message)


def test_a_get_of_an_unknown_dataset_is_404(stores_fleet: Fleet) -> None:
    assert get(stores_fleet, dataset="west")[0] == get(stores_fleet, "west")[0] == 404


def test_a_get_takes_parameters_as_torchserve_gives_them(stores_fleet: Fleet) -> None:
    fields = {"model_name": Field(b"stores"), "prefix": Field(b"n"), "body": Field(b"")}
    [answered] = Endpoint(stores_fleet).respond([Request(method="GET", form=fields)])
    assert json.loads(answered.body)["datasets"] == ["north"]
    [refused] = Endpoint(stores_fleet).respond([Request(method="GET", form={"prefix": Field(b"\xff")})])
    assert refused.status == 400
