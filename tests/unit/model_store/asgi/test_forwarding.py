"""Large requests on their way to another worker, which really listens."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from handler.models.fleet import Fleet
from handler.models.fleet_files import write
from model_store.archives.archive import MODEL_FOLDER
from model_store.asgi.app import InferenceApp
from model_store.asgi.bodies import LARGE_BYTES
from model_store.asgi.models import Models
from model_store.asgi.settings import configuration
from model_store.asgi.table import ModelTable, Registered
from tests.servers.torchserve import until

KEY, LIMIT = "secret", 1_000_000
BODY = b'{"dataset": "north", "instances": [[3, 1]]}'
PADDED = BODY + b" " * LARGE_BYTES
Messages = list[dict[str, Any]]


@pytest.fixture
def models(stores_fleet: Fleet, tmp_path: Path) -> Models:
    (tmp_path / MODEL_FOLDER).mkdir()
    write(stores_fleet, tmp_path / MODEL_FOLDER)
    models = Models(None)
    one = Registered("stores", "1", "stores.mar", str(tmp_path), 1)
    models.load({"table": ModelTable().adding(one).to_document(), "key": KEY})
    return models


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("large") / "s")


@contextmanager
def serving(app: Any, path: str) -> Iterator[None]:
    """Serve an application at a Unix socket, in a thread."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    server = uvicorn.Server(configuration(app, 1.0))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    try:
        until(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def ask(app: InferenceApp, pieces: Sequence[bytes], headers: dict[str, str] | None = None, limit: int = 0) -> Messages:
    """Return what an application sends for a body in pieces; after `limit` of them the client is gone."""
    left, sent = list(pieces), Messages()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predictions/stores",
        "raw_path": b"/predictions/stores",
        "query_string": b"",
        "headers": [
            (name.encode(), value.encode())
            for name, value in ({"authorization": f"Bearer {KEY}"} | (headers or {})).items()
        ],
    }

    async def receive() -> dict[str, Any]:
        if limit and len(pieces) - len(left) >= limit:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def status_and_body(sent: Messages) -> tuple[int, bytes]:
    return sent[0]["status"], b"".join(one["body"] for one in sent[1:])


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([PADDED], {"content-length": str(len(PADDED))}),
        ([BODY[:9], b"", BODY[9:]], {}),
        ([PADDED[at : at + 10_000] for at in range(0, len(PADDED), 10_000)], {"expect": "100-continue"}),
        ([gzip.compress(BODY)], {"content-encoding": "gzip"}),
        ([b"x" * (LARGE_BYTES + 1)], {}),
    ],
)
def test_large_requests_are_answered_by_the_other_worker_in_the_same_bytes(
    models: Models, path: str, pieces: list[bytes], headers: dict[str, str]
) -> None:
    headers |= {"content-type": "application/json"}
    alone = ask(InferenceApp(models, LIMIT), pieces, headers)
    with serving(InferenceApp(models, LIMIT), path):
        sent = ask(InferenceApp(models, LIMIT, path), pieces, headers)
    assert status_and_body(sent) == status_and_body(alone)
    assert sent[0]["headers"] == alone[0]["headers"]
    assert sent[-1].get("more_body", False) is False


def test_small_requests_need_no_other_worker(models: Models, path: str) -> None:
    status, _ = status_and_body(ask(InferenceApp(models, LIMIT, path), [BODY]))
    assert status == 200


def test_a_large_request_without_another_worker_may_be_sent_again(models: Models, path: str) -> None:
    sent = ask(InferenceApp(models, LIMIT, path), [PADDED])
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]


def test_a_body_beyond_the_limit_is_refused_while_it_comes(models: Models, path: str) -> None:
    with serving(InferenceApp(models, LIMIT), path):
        status, body = status_and_body(ask(InferenceApp(models, LIMIT, path), [b"x" * 500_000] * 4))
    assert status == 413
    assert b"1000000 bytes" in body


def test_a_client_that_leaves_is_sent_nothing(models: Models, path: str) -> None:
    with serving(InferenceApp(models, LIMIT), path):
        assert ask(InferenceApp(models, LIMIT, path), [PADDED, PADDED], limit=1) == []


def test_a_response_that_breaks_off_ends_the_connection(models: Models, path: str) -> None:
    async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})

    with serving(breaks_off, path):
        sent = ask(InferenceApp(models, LIMIT, path), [PADDED])
    assert status_and_body(sent) == (200, b"some")
    assert sent[-1]["more_body"] is True  # uvicorn closes the connection of a response that is not complete
