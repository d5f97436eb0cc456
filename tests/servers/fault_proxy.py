"""A proxy between an S3 client and its server that breaks requests on purpose.

`faults` is asked for every request and names what goes wrong with it, or None. The faults:

    drop_answer   the server gets the request, and its answer never arrives
    hang_answer   the same, but the connection stays open until the client gives up
    cut_body      half of the answer's body arrives
    cut_request   the server gets nothing: the connection is reset before it has the request
    delay         the answer comes late
    409 412 500 503    this answer, and the server gets nothing
    500_after     the server gets the request, and the answer is 500
    "403 Code"    any status with any code, and the server gets nothing
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CODES = {
    "409": "ConditionalRequestConflict",
    "412": "PreconditionFailed",
    "500": "InternalError",
    "500_after": "InternalError",
    "503": "SlowDown",
}
LOST_ACKNOWLEDGEMENTS = ("drop_answer", "hang_answer", "500_after")
ALL_FAULTS = ("drop_answer", "cut_body", "cut_request", "delay", "409", "412", "500", "503", "500_after")
DELAY_S = 0.05
HANG_S = 5.0


@dataclass(frozen=True)
class Request:
    """What a client asked: `number` counts from 0 over the life of the proxy."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def is_conditional_put(self) -> bool:
        return self.method == "PUT" and self.headers.get("If-None-Match") == "*"


Faults = Callable[[Request], str | None]


def no_faults(request: Request) -> str | None:
    return None


def at_random(share: float, seed: int, kinds: tuple[str, ...] = ALL_FAULTS) -> Faults:
    """Return faults that break this share of all requests; 412 is an answer to a conditional put only."""
    draw = random.Random(seed)
    lock = threading.Lock()

    def faults(request: Request) -> str | None:
        with lock:
            kind = draw.choice(kinds) if draw.random() < share else None
        return "503" if kind == "412" and not request.is_conditional_put else kind

    return faults


class FaultProxy:
    """A running proxy; `requests` are all that came, with the fault that each met."""

    def __init__(self, upstream: str, faults: Faults = no_faults) -> None:
        self.faults = faults
        self.requests: list[tuple[Request, str | None]] = []
        self._lock = threading.Lock()
        parts = urlsplit(upstream)
        self._server = _Server(("127.0.0.1", 0), _handler_of(self, f"{parts.hostname}:{parts.port}"))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def judge(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Note a request and return its fault."""
        with self._lock:
            request = Request(len(self.requests), method, path, headers)
            fault = self.faults(request)
            self.requests.append((request, fault))
        return fault

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def fault_proxy(upstream: str, faults: Faults = no_faults) -> Iterator[FaultProxy]:
    """Run a proxy in front of `upstream` for the length of a block."""
    proxy = FaultProxy(upstream, faults)
    try:
        yield proxy
    finally:
        proxy.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are what the proxy is for."""


def _handler_of(proxy: FaultProxy, upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(_Relay):
        owner = proxy
        server_at = upstream

    return Handler


class _Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    owner: FaultProxy
    server_at: str

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.owner.judge(self.command, self.path, dict(self.headers.items()))
        if fault == "cut_request":
            self._reset()
        elif fault is not None and fault[0].isdigit() and fault != "500_after":
            self._refuse(fault)
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = relay  # noqa: N815

    def _forward(self, body: bytes, fault: str | None) -> None:
        status, headers, answer = self._ask(body)
        if fault == "drop_answer":
            self._reset()
        elif fault == "hang_answer":
            self.connection.settimeout(HANG_S)
            self.rfile.read(1)
            self.close_connection = True
        elif fault == "500_after":
            self._refuse(fault)
        else:
            if fault == "delay":
                time.sleep(DELAY_S)
            self._send(status, headers, answer, cut=fault == "cut_body")

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server_at, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], answer: bytes, cut: bool) -> None:
        self.send_response_only(status)
        for name, value in headers:
            of_nothing = name.lower() == "content-length" and self.command == "HEAD"  # the length of what GET answers
            if name.lower() not in ("connection", "transfer-encoding", "content-length") or of_nothing:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer[: len(answer) // 2] if cut else answer)
        if cut:
            self._reset()

    def _refuse(self, fault: str) -> None:
        code = CODES.get(fault) or fault[4:]
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>on purpose</Message></Error>"
        self._send(int(fault[:3]), [("Content-Type", "application/xml")], text.encode(), cut=False)

    def _reset(self) -> None:
        """Close the connection so that the client sees a reset, not an end."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
