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

TELL_EVERY_S = 1.0


@dataclass(frozen=True)
class Saved:
    """A training checkpoint; a newer one replaces an older one with the same name."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Told:
    """How far a task is: what it has `done`, in datasets or parts, the last epoch of the current fit, and rows passed.

    A row counts in each epoch.
    """

    done: float
    epoch: int
    epochs: int
    num_rows: int


Message = Saved | Told


class Saves:
    """The training checkpoints of a task: those of an earlier attempt, and a function that sends new ones.

    It also tells the driver how far the task is, at most once in `TELL_EVERY_S`.
    """

    def __init__(self, saved: Mapping[str, bytes], send: Callable[[Message], Any]) -> None:
        self._saved = dict(saved)
        self._send = send
        self._sent_at = self._told_at = time.monotonic()
        self._num_rows = 0

    def get(self, name: str) -> bytes | None:
        """Return the newest checkpoint with this name, or None."""
        return self._saved.get(name)

    def age_s(self) -> float:
        """Return the seconds since the last checkpoint, or since the start."""
        return time.monotonic() - self._sent_at

    def tell(self, done: float, epoch: int, epochs: int, num_rows: int) -> None:
        """Tell that an epoch of so many rows has ended; see `Told`."""
        self._num_rows += num_rows
        if (now := time.monotonic()) - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            self._send(Told(done, epoch, epochs, self._num_rows))

    def put(self, name: str, data: bytes) -> None:
        """Send a checkpoint to the driver."""
        self._saved[name] = data
        self._send(Saved(name, data))
        self._sent_at = time.monotonic()


def stream(function: Callable[..., Any], arguments: tuple[Any, ...], saved: Mapping[str, bytes]) -> Iterator[Any]:
    """Run a function whose last argument is `Saves`; yield each message, then its value. Its errors are raised."""
    sent: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
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
