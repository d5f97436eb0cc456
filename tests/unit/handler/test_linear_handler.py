from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handler import linear_handler
from handler.linear_handler import LinearHandler
from handler.models.fleet_files import write
from model_store.archives.version_fleet import fleet_of_version
from model_store.ledger.ledger import Ledger
from tests.servers.torchserve import COLLECTION

BODY = b'{"dataset": "north", "instances": [[3, 1]]}'
JSON = {"body": {"content-type": "application/json"}, "Content-Type": "application/json", "url_path": ""}


class FakeContext:
    """What TorchServe hands to a handler, for requests with these headers."""

    def __init__(self, folder: Path, headers: list[dict[str, Any]]) -> None:
        self.system_properties = {"model_dir": str(folder)}
        self.model_name = "stores"
        self.headers = headers
        self.statuses: dict[int, tuple[int, str]] = {}
        self.content_types: dict[int, str] = {}
        self.response_headers: dict[int, dict[str, str]] = {}

    def get_all_request_header(self, index: int) -> dict[str, Any]:
        return self.headers[index]

    def set_response_content_type(self, index: int, value: str) -> None:
        self.content_types[index] = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        self.response_headers.setdefault(index, {})[name] = value

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        self.statuses[index] = (code, phrase)


@pytest.fixture
def folder(stores_ledger: Ledger, tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    write(fleet_of_version(stores_ledger.version(COLLECTION)), tmp_path / "model")
    return tmp_path


@pytest.fixture
def handler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LinearHandler]:
    monkeypatch.setattr(linear_handler, "every_second", lambda tell: None)
    made = LinearHandler()
    made.initialize(FakeContext(folder, []))
    yield made


def test_handle_answers_each_request_on_its_own_merits(handler: LinearHandler, folder: Path) -> None:
    rows = [{"body": bytearray(BODY)}, {"body": b"{"}, {"data": BODY}, {"body": BODY.replace(b"north", b"west")}]
    context = FakeContext(folder, [JSON, JSON, {"data": {"content-type": ""}}, JSON])
    bodies = handler.handle(rows, context)
    assert context.statuses == {1: (400, "Bad Request"), 3: (404, "Not Found")}
    assert set(context.content_types.values()) == {"application/json"}
    assert json.loads(bodies[0]) == json.loads(bodies[2])
    assert json.loads(bodies[1])["code"] == 400


def test_handle_gives_each_status_its_phrase_and_hands_on_headers(handler: LinearHandler, folder: Path) -> None:
    said = [{"Accept": "a/b"}, {"Content-Encoding": "br"}, {"Accept": "text/csv", "Gridline-Options": "interval=0.9"}]
    context = FakeContext(folder, [JSON | one for one in said])
    bodies = handler.handle([{"body": BODY}] * 3, context)
    assert context.statuses == {0: (406, "Not Acceptable"), 1: (415, "Unsupported Media Type")}
    assert context.content_types[2] == "text/csv"
    assert bodies[2].startswith(b"prediction,conf_low,")


def test_handle_takes_the_fields_of_forms_and_of_grpc(handler: LinearHandler, folder: Path) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=x", "file": {"content-type": "text/csv"}, "dataset": {}}
    lost = {"Content-Type": "application/x-www-form-urlencoded"}
    context = FakeContext(folder, [form, {"data": {"content-type": ""}}, lost])
    bodies = handler.handle([{"file": b"3,1\n", "dataset": b"north"}, {"data": BODY}, {}], context)
    assert json.loads(bodies[0]) == json.loads(bodies[1])
    assert b"curl -d" in bodies[2]


def test_handle_describes_the_model_for_a_get_and_for_the_management_port(handler: LinearHandler, folder: Path) -> None:
    rows: list[dict[str, Any]] = [{"body": b""}, {}, {"body": b""}, {"body": b""}, {"body": b""}]
    get: dict[str, Any] = {"content-length": "0", "url_path": ""}
    headers = [get, {"describe": "True"}, get | {"url_path": "north"}, get | {"url_path": "west"}, JSON]
    context = FakeContext(folder, headers)
    documents = [json.loads(body) for body in handler.handle(rows, context)]
    assert documents[0] == documents[1]
    assert documents[0]["num_datasets"] == 4
    assert documents[2]["dataset"] == "north"
    assert context.statuses == {3: (404, "Not Found"), 4: (400, "Bad Request")}


def test_handle_is_not_fooled_by_headers_of_the_caller(handler: LinearHandler, folder: Path) -> None:
    hostile = JSON | {"describe": "True", "body": "text", "url_path": ["x"]}
    context = FakeContext(folder, [hostile, JSON])
    bodies = handler.handle([{"body": BODY}, {"body": BODY}], context)
    assert len(bodies) == 2
    assert context.statuses == {}


@pytest.mark.parametrize(
    ("described", "is_grpc"),
    [
        ({"body": {"content-type": ""}}, True),
        ({"body": {"content-type": ""}, "content-length": {"content-type": ""}}, True),
        ({"body": {"content-type": ""}, "ts_request_sequence_id": "s", "ts_request_sequence_end": "true"}, True),
        ({}, True),
        (JSON, False),
        ({"describe": "True"}, False),
        ({"body": {"content-type": ""}, "Content-Length": "5"}, False),
    ],
)
def test_handle_ends_a_stream_of_grpc_and_only_that(
    handler: LinearHandler, folder: Path, described: dict[str, Any], is_grpc: bool
) -> None:
    """Without the header StreamPredictions ends TorchServe's thread of the worker; with it HTTP loses its head."""
    context = FakeContext(folder, [described, JSON])
    handler.handle([{"body": BODY}, {"body": BODY}], context)
    assert context.response_headers == ({0: {"ts_stream_next": "false"}} if is_grpc else {})


@pytest.mark.parametrize("body", [5, None, [1], {"instances": 3}, "text", 2.5, True, ""])
def test_handle_answers_any_body_that_torchserve_decoded(handler: LinearHandler, folder: Path, body: object) -> None:
    context = FakeContext(folder, [JSON])
    [answered] = handler.handle([{"body": body}], context)
    assert context.statuses[0] == (400, "Bad Request")
    json.loads(answered)


def test_handle_takes_the_dataset_and_the_format_from_the_address(handler: LinearHandler, folder: Path) -> None:
    context = FakeContext(folder, [{"body": {"content-type": "text/csv"}, "url_path": "north"}])
    [answered] = handler.handle([{"body": b"area,depth\n3,1\n"}], context)
    assert json.loads(answered)["model"]["dataset"] == "north"


def test_handle_takes_the_query_of_the_addresses_that_torchserve_hands_over(
    handler: LinearHandler, folder: Path
) -> None:
    query = {"dataset": bytearray(b"north"), "model_name": bytearray(b"stores")}
    fields = {"dataset": {"content-type": ""}, "model_name": {"content-type": ""}}
    json_body = fields | {"body": {"content-type": "application/json"}, "Content-Type": "application/json"}
    instances = bytearray(b'{"instances": [[3, 1]]}')
    context = FakeContext(folder, [json_body, fields | {"body": {"content-type": ""}}, json_body])
    rows = [query | {"body": instances}, query | {"body": bytearray()}, {"dataset": b"west", "body": instances}]
    predicted, described, _ = (json.loads(body) for body in handler.handle(rows, context))
    assert predicted["model"]["dataset"] == "north"
    assert (described["dataset"], "coefficients" in described) == ("north", True)
    assert context.statuses == {2: (404, "Not Found")}


def test_handle_lets_no_canary_answer_an_address_that_names_the_version(handler: LinearHandler, folder: Path) -> None:
    received = [linear_handler._request({"body": BODY}, headers) for headers in (JSON, JSON | {"url_path": "north"})]
    assert [request.names_version for request in received] == [False, True]


def test_handle_explains_where_the_address_asks_for_it(handler: LinearHandler, folder: Path) -> None:
    context = FakeContext(folder, [JSON | {"explain": "True"}])
    [answered] = handler.handle([{"body": BODY}], context)
    assert "explanations" in json.loads(answered)
