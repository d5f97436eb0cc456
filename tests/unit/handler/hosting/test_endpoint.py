"""The endpoint: what the address of a request tells it."""

from __future__ import annotations

import json

import pytest

from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from handler.requests.payload import Request

BODY = b'{"instances": [[3, 1]]}'


@pytest.mark.parametrize("asked", [{"dataset": "north"}, {"parameters": {"dataset": "north"}}])
def test_the_dataset_may_stand_in_the_path_or_in_the_query(stores_fleet: Fleet, asked: dict[str, object]) -> None:
    requests = [Request(BODY, **asked), Request(method="GET", **asked)]  # type: ignore[arg-type]
    predicted, described = Endpoint(stores_fleet).respond(requests)
    assert json.loads(predicted.body)["model"]["dataset"] == "north"
    assert json.loads(described.body)["dataset"] == "north"


def test_a_path_and_a_query_that_name_two_datasets_are_refused(stores_fleet: Fleet) -> None:
    both = {"dataset": "north", "parameters": {"dataset": "south"}}
    requests = [Request(BODY, **both), Request(method="GET", **both)]  # type: ignore[arg-type]
    assert [one.status for one in Endpoint(stores_fleet).respond(requests)] == [400, 400]
