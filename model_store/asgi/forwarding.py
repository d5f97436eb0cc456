"""Large requests go on to another worker, which answers nothing else: so small ones never wait for one of them.

The request passes piece by piece over a Unix socket, as HTTP, and so does the response: neither is held here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httptools

from model_store.asgi import refusals
from model_store.asgi.bodies import Body, BodyLimits, DisconnectedError
from model_store.asgi.messages import Receive, Scope, Send
from model_store.asgi.refusals import RefusedError

PIECE_BYTES = 1 << 16
OF_CONNECTION = (b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect", b"upgrade")


class Forwarder:
    """Sends requests on to the worker that listens at `path`; `limits` bounds their size and number."""

    def __init__(self, path: str, limits: BodyLimits) -> None:
        self._path = path
        self._limits = limits

    async def forward(self, scope: Scope, first: bytes, more_body: bool, receive: Receive, send: Send) -> None:
        """Send on a request whose body begins with `first`, and its response.

        Raises RefusedError before the response begins, and DisconnectedError if either end is lost.
        """
        with Body(self._limits) as body:
            body.check(len(first))
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=PIECE_BYTES)
            except OSError as exc:  # it is being replaced
                raise RefusedError(refusals.busy()) from exc
            writing = asyncio.create_task(_write(writer, scope, _pieces(body, first, more_body, receive)))
            passing = asyncio.create_task(_pass_on(reader, send))
            try:
                await asyncio.wait((writing, passing), return_when=asyncio.FIRST_EXCEPTION)
                _raise_what_ended(writing)
                await passing
            finally:
                writing.cancel()
                passing.cancel()
                writer.close()


async def _pieces(body: Body, first: bytes, more_body: bool, receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body as it comes. Raises DisconnectedError, and RefusedError beyond the limits."""
    size_bytes = len(first)
    if first:
        yield first
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        piece, more_body = message.get("body", b""), message.get("more_body", False)
        size_bytes += len(piece)
        body.check(size_bytes)
        if piece:
            yield piece


async def _write(writer: asyncio.StreamWriter, scope: Scope, pieces: AsyncIterator[bytes]) -> None:
    """Write a request, its body in chunks; if the other worker closes early, the rest is read and not sent."""
    writer.write(_head(scope))
    async for piece in pieces:
        if not writer.is_closing():
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
    writer.write(b"0\r\n\r\n")


def _head(scope: Scope) -> bytes:
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    kept = [name + b": " + value for name, value in scope["headers"] if name not in OF_CONNECTION]
    lines = [
        b"%b %b HTTP/1.1" % (scope["method"].encode(), scope["raw_path"] + query),
        *kept,
        b"transfer-encoding: chunked",
        b"connection: close",
    ]
    return b"\r\n".join((*lines, b"", b""))


def _raise_what_ended(writing: asyncio.Task[None]) -> None:
    """Raise why the request could not be written whole, if it is the client's fault."""
    if writing.done() and (problem := writing.exception()) is not None:
        raise problem


@dataclass
class _Response:
    """What httptools finds in a response."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    has_head: bool = False
    is_complete: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() != b"connection":
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.is_complete = True


async def _pass_on(reader: asyncio.StreamReader, send: Send) -> None:
    """Send a response to the client as it comes. Raises RefusedError if none begins, DisconnectedError if it breaks."""
    response, has_begun = _Response(), False
    parser = httptools.HttpResponseParser(response)
    while not response.is_complete:
        try:
            piece = await reader.read(PIECE_BYTES)
        except ConnectionError:
            piece = b""
        if not piece:
            raise DisconnectedError if has_begun else RefusedError(refusals.busy())
        parser.feed_data(piece)
        if response.has_head and not has_begun:
            has_begun = True
            await send(_start(parser.get_status_code(), response))
        while response.pieces:
            await send({"type": "http.response.body", "body": response.pieces.pop(0), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _start(status: int, response: _Response) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": response.headers}
