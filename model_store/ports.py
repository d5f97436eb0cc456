"""Free ports of this machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import asdict

from .torchserve import Ports


def with_free(ports: Ports) -> Ports:
    """Return the ports with each 0 replaced by a port that is free now; all of them differ."""
    wanted = asdict(ports)
    with ExitStack() as sockets:
        for name, port in wanted.items():
            if port == 0:
                free = sockets.enter_context(socket.socket())
                free.bind(("127.0.0.1", 0))
                wanted[name] = free.getsockname()[1]
    return Ports(**wanted)
