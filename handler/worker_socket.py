"""Read a worker's socket in large pieces.

TorchServe's worker (ts/protocol/otf_message_handler.py, 0.12) reads each field of a message with a separate system
call: some 40 for a request, which take longer than computing the answer.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Protocol

PIECE_BYTES = 1 << 16


class Connection(Protocol):
    """A socket that can be read."""

    def recv(self, size_bytes: int, /) -> bytes:
        """Return the received bytes, at most this many; none if the other side has closed."""


def buffered_reader() -> Callable[[Connection, int], bytearray]:
    """Return a function that reads an exact number of bytes, and buffers the bytes that it received beyond them.

    It replaces `_retrieve_buffer`, and like that ends the process when the front end has closed the connection.
    """
    received = bytearray()
    position = 0

    def read(connection: Connection, size_bytes: int) -> bytearray:
        nonlocal received, position
        while len(received) - position < size_bytes:
            piece = connection.recv(max(PIECE_BYTES, size_bytes - (len(received) - position)))
            if not piece:
                logging.info("Frontend disconnected.")
                sys.exit(0)
            if position:
                received = received[position:]
                position = 0
            received += piece
        requested = received[position : position + size_bytes]
        position += size_bytes
        return requested

    return read
