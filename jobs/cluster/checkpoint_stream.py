"""Stream training checkpoints from a running Ray task to the driver.

The driver writes them into the run's folder, so a worker needs no credentials. A task that is started again gets them
as an argument. The task runs in a thread of its worker, so that the worker can send checkpoints meanwhile.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Saved:
    """A training checkpoint; a newer one replaces an older one with the same name."""

    name: str
    data: bytes


class Saves:
    """The training checkpoints of a task: those of an earlier attempt, and a function that sends new ones."""

    def __init__(self, saved: Mapping[str, bytes], send: Callable[[Saved], Any]) -> None:
        self._saved = dict(saved)
        self._send = send
        self._sent_at = time.monotonic()

    def get(self, name: str) -> bytes | None:
        """Return the newest checkpoint with this name, or None."""
        return self._saved.get(name)

    def age_s(self) -> float:
        """Return the seconds since the last checkpoint, or since the start."""
        return time.monotonic() - self._sent_at

    def put(self, name: str, data: bytes) -> None:
        """Send a checkpoint to the driver."""
        self._saved[name] = data
        self._send(Saved(name, data))
        self._sent_at = time.monotonic()


def stream(function: Callable[..., Any], arguments: tuple[Any, ...], saved: Mapping[str, bytes]) -> Iterator[Any]:
    """Run a function whose last argument is `Saves`; yield each `Saved`, then its value. Its errors are raised."""
    sent: queue.SimpleQueue[Saved | None] = queue.SimpleQueue()
    value: Future[Any] = Future()

    def work() -> None:
        try:
            value.set_result(function(*arguments, Saves(saved, sent.put)))
        except BaseException as exc:  # noqa: BLE001  it is raised again below, in the consumer's thread
            value.set_exception(exc)
        sent.put(None)

    threading.Thread(target=work, name="task", daemon=True).start()
    while (item := sent.get()) is not None:  # no `yield from`: Ray calls `send`, which only a generator has
        yield item
    yield value.result()
