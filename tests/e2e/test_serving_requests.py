"""TorchServe with an archive answers what `gridline predict` answers: single, batched, bad."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from handler.answers.answering import answer
from handler.requests.payload import Request
from model_store import open_ledger
from model_store.archives.stored import archive_of
from model_store.deployment.rollout import Target, undeploy
from tests.samples.fleets import commit_models, sample_stores
from tests.samples.openapi import assert_valid
from tests.servers.torchserve import ServedStores, until

pytestmark = pytest.mark.torchserve
HOSTS = ("torchserve", "uvicorn")

BODIES: list[Any] = [
    {"dataset": "north", "instances": [[3, 1]]},
    {"dataset": "north", "instances": [{"area": "3", "depth": None}], "interval": 0.95, "explanations": True},
    {"instances": [{"dataset": "east", "area": 1, "color": "red"}, {"dataset": "bare", "area": 4}]},
    {"dataset": "south", "instances": [[i / 7, i / 9] for i in range(1000)], "extrapolation": True},
    {"dataset": "west", "instances": [[3, 1]]},
    {"dataset": "north", "instances": [[3]]},
    {"dataset": "north", "instances": [[3, -2]]},
    {},
    [],
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_endpoint_answers_as_the_same_code_does_without_a_server(served_stores: ServedStores, body: Any) -> None:
    content = json.dumps(body).encode()
    [expected] = answer(served_stores.fleet, [Request(content)])
    response = served_stores.post(content)
    assert response.status_code == expected.status
    assert response.json() == json.loads(expected.body)
    assert response.headers["content-type"] == "application/json"


def test_endpoint_speaks_both_protocols_of_kserve(served_stores: ServedStores) -> None:
    client = served_stores.client
    first = client.post("/v1/models/stores:predict", json={"dataset": "north", "instances": [[3, 1]]})
    tensors = [
        {"name": "area", "shape": [1], "datatype": "FP64", "data": [3]},
        {"name": "depth", "shape": [1], "datatype": "FP64", "data": [1]},
    ]
    second = client.post("/v2/models/stores/infer", json={"inputs": tensors, "parameters": {"dataset": "north"}})
    assert first.status_code == second.status_code == 200
    assert second.json()["outputs"][0]["data"] == first.json()["predictions"]
    explained = client.post("/v1/models/stores:explain", json={"dataset": "north", "instances": [[3, 1]]})
    assert "explanations" in explained.json()


def test_endpoint_takes_csv_and_forms(served_stores: ServedStores) -> None:
    expected = served_stores.post(b'{"dataset": "north", "instances": [[3, 1]]}').json()
    csv = served_stores.post(b"area,depth\n3,1\n", "text/csv; charset=utf-8", "/1/north")
    form = served_stores.client.post(
        "/predictions/stores", files={"data": ("request.json", b'{"dataset": "north", "instances": [[3, 1]]}')}
    )
    assert csv.json() == expected
    assert form.json() == expected


def test_get_describes_the_collection_and_a_dataset(served_stores: ServedStores) -> None:
    whole = served_stores.client.get("/predictions/stores")
    one = served_stores.client.get("/predictions/stores/1/north")
    unknown = served_stores.client.get("/predictions/stores/1/west")
    assert whole.json()["datasets"] == ["bare", "east", "north", "south"]
    assert one.json()["training"]["r2"] == 0.9
    assert unknown.status_code == 404
    with served_stores.management() as management:
        described = management.describe_through_worker("stores", "1")["customizedMetadata"]
    assert whole.json()["next"] is None
    assert described.pop("next", None) is None  # TorchServe leaves it out
    assert described == {name: value for name, value in whole.json().items() if name != "next"}


def test_the_address_with_a_query_lists_datasets_and_takes_options(served_stores: ServedStores) -> None:
    """TorchServe hands over the query of this address, and of `/invocations`, but of no other."""
    client, invoke = served_stores.client, "/models/stores/invoke"
    page = client.get(invoke, params={"limit": 2, "after": "bare"}).json()
    assert (page["datasets"], page["next"]) == (["east", "north"], "north")
    assert client.get(invoke, params={"contains": "ou"}).json()["datasets"] == ["south"]
    assert client.get(invoke, params={"dataset": "north"}).json() == client.get("/predictions/stores/1/north").json()
    assert client.get(invoke).json() == client.get("/predictions/stores").json()
    wrong = [client.get(invoke, params=params) for params in ({"offset": 1}, {"data": "x"}, {"limit": "0"})]
    assert [response.status_code for response in wrong] == [400, 400, 400]
    assert wrong[0].json()["message"].startswith("parameter 'offset' is not known: those of a GET are ")
    expected = served_stores.post(json.dumps(BODIES[0] | {"interval": 0.9}).encode()).json()
    options = {"dataset": "north", "interval": 0.9}
    assert client.post(invoke, params=options, json={"instances": [[3, 1]]}).json() == expected
    assert client.post(invoke, params={"offset": 1}, json={"instances": [[3, 1]]}).status_code == 400
    assert client.post(invoke, params={"body": "x", **options}, json={"instances": [[3, 1]]}).json() == expected


def test_the_openapi_document_is_valid_and_its_example_is_answered(served_stores: ServedStores) -> None:
    response = served_stores.client.get("/predictions/stores/1/openapi.json")
    document = response.json()
    assert_valid(document)
    assert served_stores.client.get("/models/stores/invoke?openapi").json() == document
    post = document["paths"]["/predictions/stores"]["post"]
    example = post["requestBody"]["content"]["application/json"]["example"]
    answered = served_stores.client.post("/predictions/stores", json=example)
    assert answered.status_code == 200
    assert answered.json() == post["responses"]["200"]["content"]["application/json"]["example"]
    tensors = [{"name": name, "shape": [1], "datatype": "FP64", "data": [3]} for name in ("area", "depth")]
    named = {"parameters": {"dataset": "north"}}
    for address, methods in document["paths"].items():
        path = address.replace("{dataset}", "north")
        body = named | ({"inputs": tensors} if "/v2/" in path else {"instances": [[3, 1]]})
        for method in methods.keys() & {"get", "post"}:
            found = served_stores.client.request(method, path, json=body if method == "post" else None)
            assert found.status_code == 200, (method, path, found.text)


def test_a_request_beyond_the_limit_is_refused_and_the_worker_lives(served_stores: ServedStores) -> None:
    with served_stores.management() as management:
        [before] = management.describe("stores", "1").workers
    try:
        response = served_stores.post(b"[" + b" " * (served_stores.server.settings.max_request_size_bytes + 1))
        assert response.status_code == 413
    except httpx.WriteError:
        pass  # the server closed the connection before it had read everything
    assert served_stores.post(json.dumps(BODIES[0]).encode()).status_code == 200
    with served_stores.management() as management:
        [after] = management.describe("stores", "1").workers
    assert after == before


def test_a_wrong_request_does_not_fail_the_others_of_its_batch(torchserve_stores: ServedStores, tmp_path: Path) -> None:
    """With a batch of 8, TorchServe hands the requests of all callers to the handler at once."""
    ledger = open_ledger(str(tmp_path / "store"))
    version = commit_models(ledger, "batched", sample_stores())
    archive = archive_of(ledger, version, tmp_path)
    store = torchserve_stores.server.settings.model_store
    (store / archive.file_name).write_bytes(archive.path.read_bytes())
    with torchserve_stores.management() as management:
        management.load(archive.file_name, 1, batch_size=8, max_batch_delay_ms=200)
        bodies = [json.dumps(body).encode() for body in [*BODIES[:3], *BODIES[4:]]]
        tensors = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [3, 1]}]}
        tensors |= {"parameters": {"dataset": "north", "binary_data_output": True}}
        requests = [
            *[Request(body) for body in bodies],
            Request(bodies[0], headers={"accept": "text/csv"}),
            Request(json.dumps(tensors).encode()),
            Request(bodies[0], headers={"accept": "image/png"}),
        ]
        fleet = replace(torchserve_stores.fleet, collection="batched")
        expected = [answer(fleet, [request])[0] for request in requests]

        def send(request: Request) -> httpx.Response:
            headers = {"Content-Type": "application/json", **request.headers}
            return torchserve_stores.client.post("/predictions/batched", content=request.body, headers=headers)  # type: ignore[arg-type]

        with ThreadPoolExecutor(len(requests)) as pool:
            for _ in range(3):
                for response, one in zip(pool.map(send, requests), expected, strict=True):
                    assert (response.status_code, response.headers["content-type"]) == (one.status, one.content_type)
                    assert {name: response.headers.get(name) for name in one.headers} == dict(one.headers)
                    assert ("Inference-Header-Content-Length" in response.headers) == bool(one.headers)
                    assert response.content == one.body
        undeploy(Target(management), "batched")


def test_metrics_of_the_handler_reach_prometheus(torchserve_stores: ServedStores) -> None:
    torchserve_stores.post(b"{")
    torchserve_stores.post(b'{"dataset": "north", "instances": [[3000, 1]]}')
    url = f"{torchserve_stores.server.settings.metrics_url}/metrics"

    def values() -> dict[str, float]:
        lines = [line for line in httpx.get(url).text.splitlines() if line.startswith("Gridline")]
        found: dict[str, float] = {}
        for line in lines:
            name, _, value = line.rpartition(" ")
            key = name.partition("{")[0] + ("/payload" if 'Reason="payload"' in name else "")
            found[key] = found.get(key, 0.0) + float(value)
        return found

    until(
        lambda: values().get("GridlineExtrapolations", 0) >= 1 and values().get("GridlineBadRequests/payload", 0) >= 1
    )
    assert values()["GridlineRequests"] >= 2
    assert values()["GridlineRows"] >= 1
    assert values()["GridlineInferenceMicroseconds"] > 0
