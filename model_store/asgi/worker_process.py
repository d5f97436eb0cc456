"""A worker process as its server sees it: the orders that it gets, and their answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from typing import Any

ANSWER_TIMEOUT_S = 120.0  # of an order: a million datasets load in seconds
ORDER_NUMBERS = itertools.count(1)


class WorkerFailedError(Exception):
    """A worker did not do what it was told; the message says why."""


class WorkerDiedError(WorkerFailedError):
    """A worker ended before it had done what it was told."""


@dataclass
class WorkerProcess:
    """A worker, and the socket for its orders; it is ready once it has loaded models. `started_at` is monotonic."""

    number: int
    process: ForkServerProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    started_at: float = field(default_factory=time.monotonic)
    start_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    is_ready: bool = False
    _waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None  # noqa: S101 - it was started
        return self.process.pid

    async def order(self, order: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
        """Return the answer to an order. Raises WorkerFailedError if it has an error, or there is none."""
        number = next(ORDER_NUMBERS)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if self.writer.is_closing():
                raise WorkerDiedError(f"worker {self.pid} died")
            self.writer.write(json.dumps({"id": number, **order}).encode() + b"\n")
            answer: Mapping[str, Any] = await asyncio.wait_for(future, timeout_s)
        except TimeoutError as exc:
            raise WorkerFailedError(f"worker {self.pid} did not answer within {timeout_s:.0f} s") from exc
        finally:
            del self._waiting[number]
        if "error" in answer:
            raise WorkerFailedError(str(answer["error"]))
        return answer

    async def listen(self) -> None:
        """Hand the answers to those who wait for them, until the worker ends: then they get WorkerDiedError."""
        with contextlib.suppress(ConnectionError):
            while line := await self.reader.readline():
                answer = json.loads(line)
                future = self._waiting.get(answer["id"])
                if future is not None and not future.done():
                    future.set_result(answer)
        self.writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkerDiedError(f"worker {self.pid} died"))
