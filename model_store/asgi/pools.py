"""What a registry asks of the workers of a host: processes of this machine (pool.py), or replicas of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from model_store.asgi.table import Registered


class PooledWorker(Protocol):
    """A worker, as the management API describes it."""

    @property
    def number(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def start_time(self) -> datetime: ...
    @property
    def is_ready(self) -> bool: ...


class Pool(Protocol):
    """Workers that all have the same models. The methods raise WorkerFailedError."""

    @property
    def workers(self) -> Mapping[int, PooledWorker]:
        """Return the workers by their numbers."""

    async def load(self, models: Mapping[str, Any], size: int) -> None:
        """Give every worker these models, and have `size` of them; return when all have loaded."""

    async def ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer of a worker to an order."""

    async def try_out(self, one: Registered) -> None:
        """Load a version where it harms no worker."""
