"""The application, called as an ASGI server calls it: the same documents as without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from handler.models.fleet_files import write
from handler.requests.payload import Request
from model_store.archives.archive import MODEL_FOLDER
from model_store.asgi.app import InferenceApp
from model_store.asgi.bodies import LARGE_BYTES
from model_store.asgi.models import Models
from model_store.asgi.table import ModelTable, Registered

KEY = "secret"
LIMIT = 200_000
BODY = b'{"dataset": "north", "instances": [[3, 1]]}'
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Received:
    """What a client gets."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """Calls an application without a server; each piece of the body is a message."""

    app: InferenceApp

    def send(
        self,
        path: str,
        body: bytes | Sequence[bytes] = BODY,
        method: str = "POST",
        query: bytes = b"",
        headers: Mapping[str, str] = JSON,
        key: str | None = KEY,
    ) -> Received:
        pieces = [body] if isinstance(body, bytes) else list(body)
        sent_headers = dict(headers) | ({} if key is None else {"authorization": f"Bearer {key}"})
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(name.encode(), value.encode()) for name, value in sent_headers.items()],
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        start, content = sent
        return Received(
            start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, content["body"]
        )


@pytest.fixture
def client(stores_fleet: Fleet, tmp_path: Path) -> Client:
    """A client of an application that serves version 1, the default one; version 2 has no workers."""
    (tmp_path / MODEL_FOLDER).mkdir()
    write(stores_fleet, tmp_path / MODEL_FOLDER)
    one, two = (Registered("stores", str(number), "stores.mar", str(tmp_path), 2 - number) for number in (1, 2))
    models = Models(None)
    models.load({"table": ModelTable().adding(one).adding(two).to_document(), "key": KEY})
    return Client(InferenceApp(models, LIMIT))


@pytest.mark.parametrize("path", ["/predictions/stores", "/predictions/stores/1", "/v2/models/stores/infer"])
def test_app_answers_as_the_endpoint_does(client: Client, stores_fleet: Fleet, path: str) -> None:
    [expected] = Endpoint(stores_fleet).respond([Request(BODY)])
    received = client.send(path)
    assert (received.status, received.body) == (expected.status, expected.body)
    assert received.headers["content-type"] == "application/json"
    assert received.headers["content-length"] == str(len(expected.body))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_app_describes_on_get(client: Client, stores_fleet: Fleet, method: str) -> None:
    [whole, one] = Endpoint(stores_fleet).respond([Request(method="GET"), Request(method="GET", dataset="north")])
    assert client.send("/predictions/stores", b"", method, headers={}).document == json.loads(whole.body)
    assert client.send("/predictions/stores", b"", "POST", headers={}).document == json.loads(whole.body)
    assert client.send("/predictions/stores/1/north", b"", method, headers={}).document == json.loads(one.body)


def test_app_takes_the_parameters_of_the_address(client: Client) -> None:
    assert client.send("/predictions/stores", b"", "GET", b"dataset=north").document["dataset"] == "north"
    assert client.send("/predictions/stores", b'{"instances": [[3, 1]]}', query=b"dataset=north").status == 200
    assert client.send("/invocations", query=b"model_name=stores").status == 200
    assert client.send("/invocations").document["message"] == "Model not found: "


def test_app_takes_forms(client: Client) -> None:
    expected = client.send("/predictions/stores").body
    form = b'--X\r\nContent-Disposition: form-data; name="data"\r\n\r\n' + BODY + b"\r\n--X--\r\n"
    assert (
        client.send("/predictions/stores", form, headers={"content-type": "multipart/form-data; boundary=X"}).body
        == expected
    )
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}
    assert client.send("/predictions/stores", b"data=" + BODY, headers=urlencoded).body == expected
    assert client.send("/predictions/stores", b"data=%", headers=urlencoded).status == 400


def test_app_answers_a_large_body_and_one_in_pieces(client: Client) -> None:
    padded = BODY + b" " * LARGE_BYTES
    expected = client.send("/predictions/stores").body
    assert client.send("/predictions/stores", padded).body == expected
    assert client.send("/predictions/stores", [BODY[:9], b"", BODY[9:]]).body == expected
    assert (
        client.send("/predictions/stores", [padded[i : i + 10_000] for i in range(0, len(padded), 10_000)]).body
        == expected
    )


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x"])
@pytest.mark.parametrize("path", ["/predictions/stores", "/ping", "/nowhere", "/v2/health/live"])
def test_app_refuses_without_the_key(client: Client, path: str, key: str | None) -> None:
    received = client.send(path, key=key)
    assert received.status == 400
    assert received.document == {
        "code": 400,
        "type": "InvalidKeyException",
        "message": "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
    }


def test_app_gives_the_key_to_nothing_behind_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []
    respond = Endpoint.respond
    monkeypatch.setattr(Endpoint, "respond", lambda self, requests: seen.extend(requests) or respond(self, requests))
    client.send("/predictions/stores")
    [request] = seen
    assert KEY not in repr(request)


@pytest.mark.parametrize(
    ("path", "method", "status", "kind", "message"),
    [
        ("/nowhere", "POST", 404, "ResourceNotFoundException", "Requested resource is not found"),
        ("/predictions/other", "POST", 404, "ModelNotFoundException", "Model not found: other"),
        ("/predictions/stores/9", "POST", 404, "ModelVersionNotFoundException", "Model version: 9 does not exist"),
        ("/predictions/stores/2", "POST", 503, "ServiceUnavailableException", '"stores" has no worker'),
        ("/predictions/stores", "PUT", 405, "MethodNotAllowedException", "Requested method is not allowed"),
        ("/predictions/stores/1/west", "GET", 404, "NotServedError", "dataset 'west' is not in version 1"),
    ],
)
def test_app_refuses_in_the_words_of_torchserve(
    client: Client, path: str, method: str, status: int, kind: str, message: str
) -> None:
    document = client.send(path, b"" if method == "GET" else BODY, method).document
    assert (document["code"], document["type"]) == (status, kind)
    assert message in document["message"]


@pytest.mark.parametrize("body", [b"x" * (LIMIT + 1), [b"x" * LIMIT, b"x"], [b"x", b"x" * LIMIT, b"x"]])
def test_app_refuses_a_body_beyond_the_limit(client: Client, body: bytes | list[bytes]) -> None:
    assert client.send("/predictions/stores", body).status == 413


def test_app_refuses_a_length_beyond_the_limit_before_the_body_came(client: Client) -> None:
    assert client.send("/predictions/stores", [], headers=JSON | {"content-length": str(LIMIT + 1)}).status == 413


def test_app_is_healthy(client: Client) -> None:
    assert client.send("/ping", b"", "GET").document == {"status": "Healthy"}
