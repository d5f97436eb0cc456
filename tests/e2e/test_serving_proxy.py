"""What TorchServe can't do by itself, the reverse proxy of infra/proxy/nginx.conf does: docs/security.md."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from model_store.asgi import process as uvicorn
from model_store.ledger.ledger import Ledger
from model_store.serving.settings import Ports
from tests.servers import nginx
from tests.servers.torchserve import COLLECTION, ServedStores, host_of_stores, until

pytestmark = [
    pytest.mark.torchserve,
    pytest.mark.skipif(nginx.is_missing(), reason=f"nginx is not installed: {nginx.INSTALL}"),
]

NUM_PIPELINED = 60
NUM_SLOW, NUM_IDLE = 200, 1000
PATH = f"/predictions/{COLLECTION}"


@pytest.fixture(scope="module")
def address(served_stores: ServedStores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The proxy before a server with two workers."""
    with served_stores.management() as management:
        management.scale(COLLECTION, "1", 2)
        with nginx.proxy([served_stores.server.settings], tmp_path_factory.mktemp("nginx") / "folder") as url:
            yield url
        management.scale(COLLECTION, "1", 1)


def connected(address: str) -> socket.socket:
    url = urlsplit(address)
    assert url.hostname
    return socket.create_connection((url.hostname, url.port or 80), timeout=30)


def request(area: float) -> bytes:
    body = json.dumps({"dataset": "south", "instances": [{"area": area, "depth": 1}]}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answers(connection: socket.socket, number: int) -> list[float]:
    """Return the predictions of this many answers, in the order in which they come."""
    received = b""
    while len(found := re.findall(rb'"predictions": \[([^\]]+)\]', received)) < number:
        more = connection.recv(65536)
        assert more, received[-300:]
        received += more
    return [float(one) for one in found]


def test_proxy_answers_pipelined_requests_in_their_order(address: str) -> None:
    areas = [float(area) for area in range(NUM_PIPELINED)]
    with connected(address) as one_by_one, connected(address) as pipelined:
        expected = []
        for area in areas:
            one_by_one.sendall(request(area))
            expected += answers(one_by_one, 1)
        pipelined.sendall(b"".join(map(request, areas)))
        assert answers(pipelined, len(areas)) == expected
    assert len(set(expected)) == NUM_PIPELINED


def test_proxy_answers_others_beside_slow_and_idle_connections(address: str) -> None:
    body = {"dataset": "south", "instances": [[3, 1]]}
    with ExitStack() as connections, httpx.Client(base_url=address, timeout=10) as others:
        for _ in range(NUM_SLOW):  # a header that never ends
            connections.enter_context(connected(address)).sendall(b"POST /predictions/stores HTTP/1.1\r\nX-Slow: ")
        for _ in range(NUM_IDLE - NUM_SLOW - 100):
            connections.enter_context(connected(address))
        started = time.monotonic()
        statuses = [others.post(PATH, json=body).status_code for _ in range(50)]
    assert set(statuses) == {200}
    assert time.monotonic() - started < 10


def test_proxy_refuses_huge_headers_and_addresses_that_are_not_for_callers(address: str) -> None:
    with httpx.Client(base_url=address, timeout=10) as client:
        assert client.get(PATH, headers={"X-Huge": "x" * 100_000}).status_code == 400
        for path in ("/models", "/models/stores", "/metrics", "/ping", "/token?type=inference", "/"):
            assert client.get(path).status_code == 404
        assert client.post(PATH, content=b" " * 7_000_000).status_code == 413
        assert client.get(PATH).json()["num_datasets"] == 4


def test_proxy_asks_the_second_server_while_the_first_one_ends(
    stores_ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("p")  # paths of sockets are short
    body = {"dataset": "south", "instances": [[3, 1]]}
    statuses: list[int] = []
    ended = threading.Event()
    with ExitStack() as running:
        hosts = [
            running.enter_context(host_of_stores(uvicorn.start, stores_ledger, folder / name, Ports(0, 0, 0)))[0]
            for name in ("a", "b")
        ]
        address = running.enter_context(nginx.proxy([host.settings for host in hosts], folder / "nginx"))

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=30) as client:
                while not ended.is_set():
                    statuses.append(client.post(PATH, json=body).status_code)

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            try:
                until(lambda: len(statuses) > 100)
                assert hosts[0].drain(30)
                hosts[0].stop()
                before = len(statuses)
                until(lambda: len(statuses) > before + 100)
            finally:
                ended.set()
            for one in asking:
                one.result()
    assert set(statuses) == {200}
