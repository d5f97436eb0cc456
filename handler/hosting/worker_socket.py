"""Read a worker's socket through a buffer.

TorchServe's worker (ts/protocol/otf_message_handler.py, 0.12) reads each field of a message with a separate system
call: some 40 for a request, which take longer than computing the answer.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from io import BufferedReader


def buffered_reader() -> Callable[[socket.socket, int], bytes]:
    """Return a function that reads an exact number of bytes from a connection, the same one at each call.

    It replaces `_retrieve_buffer`, and like that ends the process when the front end has closed the connection.
    """
    stream: BufferedReader | None = None

    def read(connection: socket.socket, size_bytes: int) -> bytes:
        nonlocal stream
        stream = stream or connection.makefile("rb")
        requested = stream.read(size_bytes)
        if len(requested) < size_bytes:
            logging.info("Frontend disconnected.")
            sys.exit(0)
        return requested

    return read
