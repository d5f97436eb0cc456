"""The bodies of requests, read within limits of size and number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from model_store.asgi import refusals
from model_store.asgi.messages import Receive
from model_store.asgi.refusals import RefusedError

LARGE_BYTES = 1 << 16
MAX_LARGE = 32


class DisconnectedError(Exception):
    """The client has closed the connection before its request was complete."""


@dataclass
class BodyLimits:
    """The limit of a body, and how many large ones are in memory, of at most MAX_LARGE."""

    limit_bytes: int
    num_large: int = 0


@dataclass
class Body:
    """A body that is being read; while its block lasts, it counts as a large one from LARGE_BYTES on."""

    limits: BodyLimits
    is_large: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.limits.num_large -= self.is_large

    async def read(self, receive: Receive, first: bytes) -> bytes:
        """Return the body that begins with `first`. Raises DisconnectedError, and RefusedError for one too many."""
        content, is_complete = bytearray(first), False
        while not is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            content += message.get("body", b"")
            self.check(len(content))
            is_complete = not message.get("more_body")
        return bytes(content)

    def check(self, size_bytes: int) -> None:
        """Count a body of this size. Raises RefusedError beyond the limits."""
        if size_bytes > self.limits.limit_bytes:
            raise RefusedError(refusals.too_large(self.limits.limit_bytes))
        if size_bytes > LARGE_BYTES and not self.is_large:
            if self.limits.num_large >= MAX_LARGE:
                raise RefusedError(refusals.busy())
            self.is_large = True
            self.limits.num_large += 1
