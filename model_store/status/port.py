"""A small HTTP server for probes and scrapers, in a thread of its own: GET without a body, one answer a connection.

No client can stop it for others. A request has to arrive within REQUEST_TIMEOUT_S and in MAX_HEAD_BYTES; beyond
MAX_CONNECTIONS the oldest connection is closed. An answer is made at most once in MAX_AGE_S, however many ask for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h11

from model_store.serving.ports import listen

MAX_CONNECTIONS = 64
MAX_HEAD_BYTES = 8192
READ_BYTES = 4096
REQUEST_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 8.0
MAX_AGE_S = 1.0
TEXT = "text/plain; charset=utf-8"
REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 503: b"Service Unavailable"}


@dataclass(frozen=True)
class Page:
    """The answer to a request."""

    status: int
    text: str
    content_type: str = TEXT


@dataclass
class _Made:
    """The last answer of a path, and the one that is being made."""

    make: Callable[[], Page]
    page: Page | None = None
    made_at: float = 0.0
    making: asyncio.Future[Page] | None = field(default=None, repr=False)


class StatusPort:
    """Serves pages on a port, from `with` to the end of the block. A page is made in a thread, and may take a while."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        self._listening = listen(host, port, "--status-port", "--status-host")
        self.port: int = self._listening.getsockname()[1]
        self._pages = {path: _Made(make) for path, make in pages.items()}
        self._pool = ThreadPoolExecutor(len(pages), "gridline-status")
        self._connections: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._is_up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gridline-status", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, suppress(asyncio.CancelledError):
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._listening, limit=MAX_HEAD_BYTES)
        async with server:
            self._is_up.set()
            await server.serve_forever()

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio makes one for each connection
        if len(self._connections) >= MAX_CONNECTIONS:
            next(iter(self._connections)).cancel()
        self._connections[task] = None
        try:
            await self._answer_one(reader, writer)
        except (TimeoutError, OSError, asyncio.CancelledError):
            pass  # the client is too slow, gone, or has to make room
        finally:
            del self._connections[task]
            writer.transport.abort()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            request = await _request(parser, reader)
        if request is None:
            return
        page = request if isinstance(request, Page) else await self._page(request)
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            writer.write(_bytes(page))
            await writer.drain()
            writer.write_eof()
            await reader.read(READ_BYTES)  # the client closes first, so that nothing of the answer is lost

    async def _page(self, request: h11.Request) -> Page:
        if request.method != b"GET":
            return Page(405, "only GET is answered here\n")
        made = self._pages.get(request.target.partition(b"?")[0].decode("latin-1"))
        if made is None:
            return Page(404, f"nothing is here: ask {', '.join(self._pages)}\n")
        if made.page is not None and time.monotonic() - made.made_at < MAX_AGE_S:
            return made.page
        if made.making is None:
            made.making = asyncio.ensure_future(self._make(made))
        try:
            return await asyncio.wait_for(asyncio.shield(made.making), ANSWER_TIMEOUT_S)
        except TimeoutError:
            return Page(503, f"there was no answer within {ANSWER_TIMEOUT_S:g} s\n")

    async def _make(self, made: _Made) -> Page:
        try:
            made.page = await self._loop.run_in_executor(self._pool, made.make)
            made.made_at = time.monotonic()
        finally:
            made.making = None
        return made.page


async def _request(parser: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | Page | None:
    """Return the head of a request, a refusal of what is none or has a body, or None if the client has gone."""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as exc:
            return Page(400, f"this is no request of HTTP: {exc}\n")
        if isinstance(event, h11.Request):
            has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in event.headers)
            return Page(400, "a request has no body here\n") if has_body else event
        if event is not h11.NEED_DATA:
            return None
        parser.receive_data(await reader.read(READ_BYTES))


def _bytes(page: Page) -> bytes:
    body = page.text.encode()
    head = [
        b"HTTP/1.1 %d %s" % (page.status, REASONS[page.status]),
        b"Content-Type: " + page.content_type.encode(),
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"Connection: close",
    ]
    return b"\r\n".join([*head, b"", body])
