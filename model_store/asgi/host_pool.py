"""The workers of a server: those that clients reach, and one to which they send on large requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_store.asgi.pool import WorkerPool
from model_store.asgi.settings import WorkerSettings
from model_store.asgi.table import Registered
from model_store.asgi.worker_process import WorkerProcess

SOCKET = "large.sock"
BACKLOG = 128


class HostPool:
    """A `Pool`: its workers are those that clients reach, at `listener`; the other one's socket is in `folder`."""

    def __init__(self, settings: WorkerSettings, listener: socket.socket, folder: Path) -> None:
        path = folder / SOCKET
        self._front = WorkerPool(replace(settings, large=str(path)), listener)
        self._large = WorkerPool(replace(settings, access_log=False, is_for_large=True), _listen(path))

    @property
    def workers(self) -> Mapping[int, WorkerProcess]:
        return self._front.workers

    async def load(self, models: Mapping[str, Any], size: int) -> None:
        """Give every worker these models; those that clients reach get them last, as they are the ones that ask."""
        await self._large.load(models, min(size, 1))
        await self._front.load(models, size)

    async def ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._front.ask(order)

    async def try_out(self, one: Registered) -> None:
        await self._front.try_out(one)

    async def watch(self) -> None:
        """Kill workers that do not answer an order; for ever."""
        await asyncio.gather(self._front.watch(), self._large.watch())

    async def stop(self, grace_s: float) -> None:
        """End all workers: each answers the requests that it has, for up to `grace_s`; the large ones come last."""
        await self._front.stop(grace_s)
        await self._large.stop(grace_s)


def _listen(path: Path) -> socket.socket:
    """Return a socket that listens at a path. Raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    return listener
