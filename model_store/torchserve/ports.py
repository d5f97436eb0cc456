"""Free ports of this machine."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from dataclasses import asdict

from model_store.deployment.errors import ServerError
from model_store.torchserve.process import Ports

FIRST, LAST = 10_000, 32_767
ATTEMPTS = 1000


def with_free(ports: Ports) -> Ports:
    """Return the ports with each 0 replaced by a port that is free now; all of them differ.

    TorchServe wants its ports before it starts, seconds later. So they are drawn from below the range of which Linux
    gives ports to outgoing connections: one that binding to 0 gives might be taken by then.
    """
    wanted = asdict(ports)
    with ExitStack() as sockets:
        for name, port in wanted.items():
            if port == 0:
                wanted[name] = _bind(sockets.enter_context(socket.socket()))
    return Ports(**wanted)


def _bind(free: socket.socket) -> int:
    """Bind a socket to a free port, and return it. Raises ServerError if none is found."""
    for _ in range(ATTEMPTS):
        with suppress(OSError):
            free.bind(("127.0.0.1", random.randint(FIRST, LAST)))  # noqa: S311
            return int(free.getsockname()[1])
    raise ServerError(f"no port between {FIRST} and {LAST} is free: end some program, or give the ports")
