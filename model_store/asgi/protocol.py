"""uvicorn's protocol with limits: by itself it bounds neither the head of a request nor how long one may take."""

from __future__ import annotations

from asyncio import Transport
from asyncio.events import TimerHandle
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_store.asgi import refusals
from model_store.asgi.refusals import Response

MAX_HEAD_BYTES = 1 << 16
REQUEST_TIMEOUT_S = 60.0  # from the first byte of a request to its last
HEAD_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 75  # longer than load balancers keep a connection, so that it is they who close it
OF_UPGRADE = (b"connection", b"upgrade", b"http2-settings")  # Java's client sends them by default
READER_TIMEOUT_S = 30.0  # in which a client must have taken some of its answer


class HeadTooLargeError(Exception):
    """The head of a request is larger than MAX_HEAD_BYTES."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose requests are bounded; what is refused is answered in TorchServe's words, and closed.

    A timer runs only while a request is incomplete, or none is there: one that comes in a piece starts none.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: TimerHandle | None = None
        self._head_bytes = 0  # of the chunks after the one in which the head began
        self._chunk_bytes = 0
        self._is_in_head = False
        self._is_in_request = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # (as uvicorn)
        super().connection_made(transport)
        self._start_timer(IDLE_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._is_in_head
        self._chunk_bytes = len(data)
        self._head_bytes = self._head_bytes + len(data) if was_in_head else 0
        self._feed(data)
        if self.transport.is_closing():
            return
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._is_in_request:
            if self._timer is None or (was_in_head and not self._is_in_head):
                self._start_timer(HEAD_TIMEOUT_S if self._is_in_head else REQUEST_TIMEOUT_S)
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer(IDLE_TIMEOUT_S)  # what came was no request, such as an empty line

    def _feed(self, data: bytes) -> None:
        """Parse what came, as uvicorn does; but it drops the body of a request that asks for another protocol."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            version, method = self.parser.get_http_version().encode(), self.parser.get_method()
            kept = [name + b": " + value for name, value in self.headers if name not in OF_UPGRADE]
            head = b"\r\n".join([b"%s %s HTTP/%s" % (method, self.url, version), *kept, b"", b""])
            self.parser = httptools.HttpRequestParser(self)
            self._feed(head + data[exc.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def on_message_begin(self) -> None:
        self._stop_timer()
        self._is_in_head = self._is_in_request = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._head_bytes + self._chunk_bytes > MAX_HEAD_BYTES and self._size_of_head() > MAX_HEAD_BYTES:
            raise HeadTooLargeError
        if self.parser.should_upgrade():
            return  # `_feed` begins it anew
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._stop_timer()
        self._is_in_request = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        size = self.transport.get_write_buffer_size()
        if size:
            self.loop.call_later(READER_TIMEOUT_S, self._check_reader, size)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; uvicorn calls this, also for an error of the methods above."""
        if self._is_in_head and self._head_bytes + self._chunk_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            self._refuse(refusals.wrong("Invalid HTTP message."))

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_head(self) -> None:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        message = f"The head of the request is larger than {MAX_HEAD_BYTES} bytes"
        self._refuse(refusals.refused(status, "BadRequestException", message))

    def _refuse(self, response: Response) -> None:
        """Respond and close. If an earlier request is being answered, close after that, without a response."""
        self._stop_timer()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._is_in_head or not self._is_in_request:
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
            is_first = not self.pipeline and not cycle.response_started
            cycle.response_complete = cycle.disconnected = True  # its application finds that the client is gone
            if not is_first:
                self.transport.close()
                return
        self.transport.write(_bytes_of(response))
        self.transport.close()

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._is_in_request and self.flow.read_paused:  # it is not the client that is slow
            self._start_timer(REQUEST_TIMEOUT_S)
        elif self._is_in_request:
            what, limit_s = ("head", HEAD_TIMEOUT_S) if self._is_in_head else ("request", REQUEST_TIMEOUT_S)
            message = f"The {what} did not come within {limit_s:.0f} s"
            self._refuse(refusals.refused(HTTPStatus.REQUEST_TIMEOUT, "BadRequestException", message))
        else:
            self.transport.close()

    def _check_reader(self, size: int) -> None:
        """Drop a client that has taken nothing of its answer since the last check."""
        left = self.transport.get_write_buffer_size()
        if left >= size:
            self.transport.abort()
        elif left:
            self.loop.call_later(READER_TIMEOUT_S, self._check_reader, left)


def _bytes_of(response: Response) -> bytes:
    """Return a response as HTTP, after which the connection is closed."""
    lines = (
        f"HTTP/1.1 {int(response.status)} {HTTPStatus(response.status).phrase}",
        f"content-type: {response.content_type}",
        f"content-length: {len(response.body)}",
        "connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + response.body
