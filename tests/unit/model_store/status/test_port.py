from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from model_store.deployment.errors import ServerError
from model_store.status import port as port_module
from model_store.status.port import MAX_CONNECTIONS, MAX_HEAD_BYTES, Page, StatusPort


class Pages:
    """Pages that count how often they are made; `/slow` waits until it is let go."""

    def __init__(self) -> None:
        self.num_made = 0
        self.go = threading.Event()

    def fast(self) -> Page:
        self.num_made += 1
        return Page(200, f"made {self.num_made}\n")

    def slow(self) -> Page:
        self.go.wait(30)
        return Page(503, "late\n")


@pytest.fixture
def pages() -> Iterator[Pages]:
    made = Pages()
    yield made
    made.go.set()


@pytest.fixture
def served(pages: Pages) -> Iterator[StatusPort]:
    with StatusPort("127.0.0.1", 0, {"/fast": pages.fast, "/slow": pages.slow}) as status:
        yield status


def get(served: StatusPort, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{served.port}{path}", timeout=20, trust_env=False)


def exchange(served: StatusPort, sent: bytes) -> bytes:
    """Send bytes, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(sent)
        received = bytearray()
        while piece := connection.recv(4096):
            received += piece
    return bytes(received)


def test_a_page_is_made_once_a_second_for_all_who_ask(served: StatusPort, pages: Pages) -> None:
    answers = [get(served, path) for path in ("/fast", "/fast?x=1", "/fast")]
    assert {(one.status_code, one.text) for one in answers} == {(200, "made 1\n")}
    assert answers[0].headers["content-type"] == "text/plain; charset=utf-8"


def test_a_page_is_made_anew_when_it_is_old(served: StatusPort, pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "MAX_AGE_S", 0.0)
    assert [get(served, "/fast").text for _ in range(2)] == ["made 1\n", "made 2\n"]


def test_a_page_that_takes_long_does_not_keep_the_others(
    served: StatusPort, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_module, "ANSWER_TIMEOUT_S", 0.05)
    late = get(served, "/slow")
    assert (late.status_code, late.text) == (503, "there was no answer within 0.05 s\n")
    assert get(served, "/fast").status_code == 200
    pages.go.set()
    monkeypatch.setattr(port_module, "ANSWER_TIMEOUT_S", 10.0)
    assert get(served, "/slow").text == "late\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /fast HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"HEAD /fast HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"GET /fast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /fast HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"x" * MAX_HEAD_BYTES, 400),
        (b"GET /fast HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 2000, 400),
        (b"GET /fast HTTP/1.0\r\n\r\n", 200),
        (b"GET /%2e%2e/fast HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_what_is_not_a_plain_get_is_refused(served: StatusPort, sent: bytes, status: int) -> None:
    assert exchange(served, sent).startswith(b"HTTP/1.1 %d " % status)
    assert get(served, "/fast").status_code == 200


def test_a_client_that_sends_nothing_is_closed(served: StatusPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "REQUEST_TIMEOUT_S", 0.05)
    for sent in (b"", b"GET /fast HT"):
        assert exchange(served, sent) == b""


def test_more_connections_than_there_is_room_for_keep_nobody_out(served: StatusPort) -> None:
    with ExitStack() as open_connections:
        for _ in range(3 * MAX_CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", served.port), timeout=20)
            open_connections.enter_context(connection).sendall(b"GET /fast HTTP/1.1\r\n")
        assert get(served, "/fast").status_code == 200


def test_a_port_that_is_taken_is_refused_with_the_option_to_change(served: StatusPort) -> None:
    with pytest.raises(ServerError, match=f"port {served.port} of 127.0.0.1 is taken .* set --status-port"):
        StatusPort("127.0.0.1", served.port, {})


def test_an_address_of_ipv6_is_served(pages: Pages) -> None:
    with StatusPort("::1", 0, {"/fast": pages.fast}) as served:
        assert httpx.get(f"http://[::1]:{served.port}/fast", trust_env=False).status_code == 200
