"""Hostile callers of a real TorchServe, who have the inference key or none: others go on being answered."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from benchmarks.worst_bodies import WORST_BODIES
from model_store.torchserve.client import read_key
from tests.servers.load import Load
from tests.servers.torchserve import COLLECTION, ServedStores, until

pytestmark = pytest.mark.torchserve

BODY = b'{"dataset": "north", "instances": [[3, 1]]}'
PATH = f"/predictions/{COLLECTION}"
SERVICE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService"
LONGEST_WAIT_S = 12.0  # two cores that run other tests too; without the bounds it was up to 30 s, or for good


@pytest.fixture
def unharmed(served_stores: ServedStores) -> Iterator[ServedStores]:
    """The server; after the test its worker is the same process as before, and answers."""
    before = worker_pid(served_stores)
    yield served_stores
    assert served_stores.post(BODY).status_code == 200
    assert worker_pid(served_stores) == before


def worker_pid(served: ServedStores) -> int:
    with served.management() as management:
        [worker] = management.describe(COLLECTION, "1").workers
    assert worker.is_ready
    return worker.pid


def key(served: ServedStores) -> str:
    return read_key(served.server.settings.key_file, "inference")


def request(served: ServedStores, body: bytes, path: str = PATH) -> bytes:
    """Return the bytes of a request over HTTP."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key(served)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


def connected(served: ServedStores) -> socket.socket:
    settings = served.server.settings
    return socket.create_connection((settings.host, settings.ports.inference), timeout=30)


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def message(body: bytes) -> bytes:
    """Return a `PredictionsRequest` about `stores`, as protobuf."""
    return field(1, COLLECTION.encode()) + field(3, field(1, b"body") + field(2, body))


def streams(served: ServedStores, number: int, body: bytes) -> list[list[bytes]]:
    """Return what so many calls of StreamPredictions at once got."""
    settings = served.server.settings
    as_it_is: Callable[[bytes], bytes] = bytes
    with grpc.insecure_channel(f"{settings.host}:{settings.ports.grpc_inference}") as channel:
        call = channel.unary_stream(f"{SERVICE}/StreamPredictions", as_it_is, as_it_is)
        metadata = [("authorization", f"Bearer {key(served)}")]
        calls = [call(message(body), metadata=metadata, timeout=30) for _ in range(number)]
        return [list(answers) for answers in calls]


@pytest.mark.parametrize("number", [1, 8])
def test_streams_of_grpc_are_answered(unharmed: ServedStores, number: int) -> None:
    expected = field(1, unharmed.post(BODY).content)
    assert streams(unharmed, number, BODY) == [[expected]] * number


def test_streams_of_grpc_with_a_wrong_request_are_refused_alone(unharmed: ServedStores) -> None:
    for [answered] in streams(unharmed, 4, b"{"):
        assert b'"code": 400' in answered


def test_streams_of_grpc_that_are_cancelled_hurt_nobody(unharmed: ServedStores) -> None:
    settings = unharmed.server.settings
    as_it_is: Callable[[bytes], bytes] = bytes
    with grpc.insecure_channel(f"{settings.host}:{settings.ports.grpc_inference}") as channel:
        call = channel.unary_stream(f"{SERVICE}/StreamPredictions", as_it_is, as_it_is)
        for _ in range(20):
            call(message(BODY), metadata=[("authorization", f"Bearer {key(unharmed)}")]).cancel()


@pytest.mark.timeout(400)
def test_the_worst_bodies_do_not_hold_up_others(unharmed: ServedStores) -> None:
    settings = unharmed.server.settings
    command = [sys.executable, "-m", "tests.servers.worst_sender", settings.inference_url + PATH, key(unharmed)]
    with Load(settings, PATH, BODY, rate=20) as load:
        sent = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert sent.returncode == 0, sent.stderr
    statuses: dict[str, Any] = dict(map(json.loads, sent.stdout.splitlines()))
    assert len(statuses) == len(WORST_BODIES)
    assert {name: status for name, status in statuses.items() if status not in (200, 400, 404, 413)} == {}
    assert load.failures() == []
    assert max(outcome.answered_at - outcome.sent_at for outcome in load.outcomes) < LONGEST_WAIT_S


def test_slow_and_idle_connections_do_not_hold_up_others(unharmed: ServedStores) -> None:
    starts = [b"", b"POST /pred", request(unharmed, b"{" * 100_000)[:-99_000]]
    with ExitStack() as stack:
        for number in range(600):
            stack.enter_context(connected(unharmed)).sendall(starts[number % 3])
        started = time.monotonic()
        assert [unharmed.post(BODY).status_code for _ in range(10)] == [200] * 10
        assert time.monotonic() - started < LONGEST_WAIT_S


@pytest.mark.parametrize("head", ["X: " + "a" * 9000, "\r\n".join(f"X{number}: a" for number in range(2000))])
def test_huge_headers_are_refused(unharmed: ServedStores, head: str) -> None:
    with connected(unharmed) as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\n{head}\r\nContent-Length: 0\r\n\r\n".encode())
        assert b" 400 " in connection.recv(100)


@pytest.mark.parametrize("sent", ["%0aFORGED", "%0d%0aFORGED", "%0A%E2%80%A8FORGED", "\x1b[31m\x85FORGED"])
def test_a_caller_can_not_write_a_line_into_the_log(unharmed: ServedStores, sent: str) -> None:
    log = unharmed.server.log_file
    for path in (f"{PATH}/1/a{sent}", f"/predictions/{sent}", f"{PATH}/1{sent}/a"):
        with connected(unharmed) as connection:
            connection.sendall(request(unharmed, BODY, path))
            connection.recv(100)
    body = json.dumps({"dataset": "a\nFORGED", "instances": [[1]]}).encode()
    assert unharmed.post(body).status_code == 404
    before = len(log.read_text())
    with connected(unharmed) as connection:
        connection.sendall(request(unharmed, BODY, f"{PATH}/1/end%0aof-the-test"))
    until(lambda: "of-the-test" in log.read_text()[before:])
    lines = [line for line in log.read_text().splitlines() if "FORGED" in line or "of-the-test" in line]
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in lines)
    assert "\x1b" not in log.read_text()


def test_pipelined_requests_to_one_worker_are_answered_in_their_order(unharmed: ServedStores) -> None:
    """With several workers, TorchServe answers in the order in which they end: docs/security.md has the remedy."""
    slow = json.dumps({"dataset": "north", "instances": [[1, 1]] * 20_000}).encode()
    quick = [json.dumps({"dataset": "north", "instances": [[area, 1]]}).encode() for area in (2, 3, 4)]
    expected = [unharmed.post(body).content for body in (slow, *quick)]
    with connected(unharmed) as connection:
        connection.sendall(b"".join(request(unharmed, body) for body in (slow, *quick)))
        answered = b""
        while answered.count(b"HTTP/1.1 200") < 4 or not answered.endswith(expected[-1]):
            answered += connection.recv(1 << 20)
    places = [answered.find(body) for body in expected]
    assert places == sorted(places)
    assert min(places) > 0
