"""The limits of a connection, on a real uvicorn: what is slow, huge or malformed ends, and others are answered."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from model_store.asgi import protocol
from model_store.asgi.messages import Receive, Scope, Send, respond
from model_store.asgi.refusals import Response
from model_store.asgi.settings import configuration

SHORT_S = 0.2
WAITING_S = 0.1


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body, late if the path says so."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    if scope["path"] == "/late":
        await asyncio.sleep(WAITING_S)
    await respond(send, Response(200, body))


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """The address of a server with short limits of time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REQUEST_TIMEOUT_S", "HEAD_TIMEOUT_S", "IDLE_TIMEOUT_S", "READER_TIMEOUT_S"):
            patch.setattr(protocol, name, SHORT_S)
        yield from running_server()


def running_server() -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = configuration(echo, 1.0)
    config.timeout_keep_alive = SHORT_S  # type: ignore[assignment]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def connected(address: tuple[str, int], sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=10) as opened:
        opened.sendall(sent)
        yield opened


def request(body: bytes, path: str = "/", head: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


def until_closed(opened: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    received = b""
    while piece := opened.recv(65536):
        received += piece
    return received


def refusal(received: bytes) -> tuple[int, Any]:
    """Return the status and the document of the only response in what came."""
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def answers(opened: socket.socket, count: int) -> list[bytes]:
    """Return the bodies, of one byte each, of the next responses."""
    received = b""
    while received.count(b"\r\n\r\n") < count or not received.rpartition(b"\r\n\r\n")[2]:
        received += opened.recv(65536)
    return [part[:1] for part in received.split(b"\r\n\r\n")[1:]]


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\n", 408, "The head did not come within"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 408, "The request did not come within"),
        (request(b"", head="X: " + "y" * 70_000 + "\r\n"), 431, "The head of the request is larger"),
        (request(b"", head="".join(f"X{i}: y\r\n" for i in range(9_000))), 431, "The head of the request is larger"),
        (b"GARBAGE\r\n\r\n", 400, "Invalid HTTP message."),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "Invalid HTTP message."),
    ],
)
def test_connection_is_refused_and_closed(address: tuple[str, int], sent: bytes, status: int, message: str) -> None:
    with connected(address, sent) as opened:
        found, document = refusal(until_closed(opened))
    assert (found, document["code"]) == (status, status)
    assert message in document["message"]


def test_connection_with_an_endless_head_is_closed(address: tuple[str, int]) -> None:
    with connected(address, b"POST / HTTP/1.1\r\nX: ") as opened, pytest.raises(ConnectionError):
        for _ in range(1000):
            opened.sendall(b"y" * 100_000)


@pytest.mark.parametrize("sent", [b"", b"\r\n", request(b"a")])
def test_connection_that_is_idle_is_closed(address: tuple[str, int], sent: bytes) -> None:
    with connected(address, sent) as opened:
        assert b"408" not in until_closed(opened)[:20]


def test_connection_answers_pipelined_requests_in_their_order(address: tuple[str, int]) -> None:
    with connected(address, request(b"a", "/late") + request(b"b") + request(b"c", "/late") + request(b"d")) as opened:
        assert answers(opened, 4) == [b"a", b"b", b"c", b"d"]


def test_connection_answers_what_came_before_garbage(address: tuple[str, int]) -> None:
    with connected(address, request(b"a", "/late") + b"GARBAGE\r\n\r\n") as opened:
        received = until_closed(opened)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"a")


def test_connection_takes_a_head_and_a_body_of_the_usual_sizes(address: tuple[str, int]) -> None:
    body = b"a" * 1_000_000
    with connected(address, request(body, head="X: " + "y" * 30_000 + "\r\nConnection: close\r\n")) as opened:
        assert until_closed(opened).endswith(body)


@pytest.mark.parametrize("size", [1, 60, 10_000])
def test_connection_that_asks_for_another_protocol_is_answered(address: tuple[str, int], size: int) -> None:
    """Java's client asks for HTTP/2 with its first request."""
    head = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    sent = request(b"a", head=head) + request(b"b")
    with connected(address) as opened:
        for at in range(0, len(sent), size):
            opened.sendall(sent[at : at + size])
        assert answers(opened, 2) == [b"a", b"b"]


def test_connection_of_a_client_that_does_not_read_is_dropped(address: tuple[str, int]) -> None:
    body = b"a" * 30_000_000
    with connected(address) as opened:
        opened.sendall(request(body))
        size = len(opened.recv(65536))  # the answer has begun
        threading.Event().wait(4 * SHORT_S)
        with suppress(ConnectionResetError):
            size += len(until_closed(opened))
    assert 0 < size < len(body)


def test_connections_that_are_slow_or_idle_do_not_keep_others_waiting(address: tuple[str, int]) -> None:
    opened = [socket.create_connection(address, timeout=10) for _ in range(300)]
    try:
        for number, one in enumerate(opened):
            one.sendall([b"", b"POST / HTT", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nx"][number % 3])
        started = time.monotonic()
        with connected(address, request(b"a")) as another:
            assert answers(another, 1) == [b"a"]
        assert time.monotonic() - started < 5.0
    finally:
        for one in opened:
            one.close()
