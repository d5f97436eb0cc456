"""Each host answers the same: statuses, types and bodies are equal, byte by byte."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.samples.payloads import Payload, payloads
from tests.servers.torchserve import ServedStores

pytestmark = pytest.mark.torchserve

NORTH = b'{"dataset": "north", "instances": [[3, 1]]}'
FORM = b'--X\r\nContent-Disposition: form-data; name="data"\r\nContent-Type: application/json\r\n\r\n'
TENSORS = {
    "id": "7",
    "inputs": [
        {"name": "area", "shape": [2], "datatype": "FP64", "data": [3, 4]},
        {"name": "depth", "shape": [2], "datatype": "FP64", "data": [1, 2]},
    ],
    "parameters": {"dataset": "north", "interval": 0.9},
}
JSON, CSV = {"Content-Type": "application/json"}, {"Content-Type": "text/csv"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=X"}


@dataclass(frozen=True)
class Sent:
    """What is sent to each host."""

    path: str
    body: bytes = NORTH
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    method: str = "POST"


REQUESTS = [
    Sent("/predictions/stores"),
    Sent("/predictions/stores/"),
    Sent("/predictions/stores/1"),
    Sent("/predictions/stores/1/north"),
    Sent("/predictions/stores/1/north/", b"area,depth\n3,1\n", CSV),
    Sent("/explanations/stores"),
    Sent("/explanations/stores/1/north", b'{"instances": [[3, 1]]}'),
    Sent("/v1/models/stores:predict"),
    Sent("/v1/models/stores:explain"),
    Sent("/v2/models/stores/infer", json.dumps(TENSORS).encode()),
    Sent("/v2/models/stores/infer", b'{"inputs": []}'),
    Sent("/models/stores/invoke"),
    Sent("/models/stores/1/invoke"),
    Sent("/models/stores/invoke?dataset=north&interval=0.9", b'{"instances": [[3, 1]]}'),
    Sent("/models/stores/invoke?dataset=south"),
    Sent("/models/stores/invoke?limit=2", b"", {}, "GET"),
    Sent("/models/stores/invoke?offset=2", b"", {}, "GET"),
    Sent("/invocations?model_name=stores"),
    Sent("/predictions/stores", b"", {}, "GET"),
    Sent("/predictions/stores", b"", {}),
    Sent("/predictions/stores", b"", JSON),
    Sent("/predictions/stores", b"[", {}),
    Sent("/predictions/stores/1/north", b"", {}, "GET"),
    Sent("/predictions/stores/1/no%2Frth/x", b"", {}, "GET"),
    Sent("/predictions/stores/1/%C3%BC%20+", b"", {}, "GET"),
    Sent("/predictions/stores/1/openapi.json", b"", {}, "GET"),
    Sent("/predictions/st%6Fres"),
    Sent("/predictions/stores", FORM + NORTH + b"\r\n--X--\r\n", MULTIPART),
    Sent("/predictions/stores", FORM.replace(b'"data"', b'"rows"') + NORTH + b"\r\n--X--\r\n", MULTIPART),
    Sent("/predictions/stores", b"garbage", MULTIPART),
    Sent("/predictions/stores", b"data=" + NORTH, URLENCODED),
    Sent("/predictions/stores", NORTH, URLENCODED),
    Sent("/predictions/stores", gzip.compress(NORTH), JSON | {"Content-Encoding": "gzip"}),
    Sent("/predictions/stores", NORTH, JSON | {"Content-Encoding": "br"}),
    Sent("/predictions/stores", NORTH, JSON | {"Accept": "text/csv"}),
    Sent("/predictions/stores", NORTH, JSON | {"Accept": "image/png"}),
    Sent("/predictions/stores", NORTH, JSON | {"Describe": "True", "Explain": "True"}),
    Sent("/predictions/stores", b'{"instances": [[3, 1]]}', JSON | {"Gridline-Options": "dataset=north&interval=0.9"}),
    Sent("/ping", b"", {}, "GET"),
    Sent("/", b"", {}, "GET"),
    Sent("/nowhere"),
    Sent("/predictions"),
    Sent("/predictions/other"),
    Sent("/predictions/stores/9"),
    Sent("/predictions/stores//north"),
    Sent("/explanations/other"),
    Sent("/v1/models/other:predict"),
    Sent("/v2/models/other/infer"),
    Sent("/v2/models/stores/infer/x"),
    Sent("/models/other/invoke"),
]
MANAGEMENT = [
    ("GET", "/models"),
    ("GET", "/models/other"),
    ("GET", "/models/stores/9"),
    ("POST", "/models"),
    ("POST", "/models?url=nowhere.mar"),
    ("PUT", "/models/stores/9?min_worker=1"),
    ("PUT", "/models/other/1/set-default"),
    ("PUT", "/models/stores/1/set-default"),
    ("DELETE", "/models/other"),
    ("DELETE", "/models/stores/9"),
]


def received(served: ServedStores, sent: Sent) -> tuple[int, str | None, bytes]:
    """Return the status, the type and the body that a host answers with."""
    response = served.client.request(sent.method, sent.path, content=sent.body, headers=sent.headers)
    return response.status_code, response.headers.get("content-type"), response.content


@pytest.mark.parametrize("sent", REQUESTS, ids=range(len(REQUESTS)))
def test_hosts_answer_a_request_alike(
    torchserve_stores: ServedStores, uvicorn_stores: ServedStores, sent: Sent
) -> None:
    assert received(uvicorn_stores, sent) == received(torchserve_stores, sent)


def test_hosts_answer_generated_payloads_alike(torchserve_stores: ServedStores, uvicorn_stores: ServedStores) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    @settings(max_examples=100, deadline=None, suppress_health_check=checks, database=None, phases=[Phase.generate])
    @given(payloads)
    def send(payload: Payload) -> None:
        sent = Sent("/predictions/stores", payload.body, {"Content-Type": payload.content_type})
        assert received(uvicorn_stores, sent) == received(torchserve_stores, sent)

    send()


@pytest.mark.parametrize(("method", "path"), MANAGEMENT)
def test_hosts_manage_alike(
    torchserve_stores: ServedStores, uvicorn_stores: ServedStores, method: str, path: str
) -> None:
    answers = []
    for served in (uvicorn_stores, torchserve_stores):
        with served.management() as management:
            response = management._send(method, path)
        answers.append((response.status_code, response.json()))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "path", ["/predictions/stores", "/predictions/other", "/nowhere", "/ping", "/predictions/stores/9"]
)
def test_hosts_refuse_without_a_key_alike(
    torchserve_stores: ServedStores, uvicorn_stores: ServedStores, path: str
) -> None:
    first, second = (
        httpx.post(served.server.settings.inference_url + path, content=NORTH, headers=JSON)
        for served in (torchserve_stores, uvicorn_stores)
    )
    assert (first.status_code, first.content) == (second.status_code, second.content)
