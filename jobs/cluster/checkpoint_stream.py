"""How a long task saves what it has done: as items that it sends on its way, before its value.

The items go to the driver, which writes them into the run's folder: a worker needs no credentials, and a task that is
started again gets them as an argument. A task runs in a thread of its worker, so that items leave while it works.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Saved:
    """Something that was saved: by its name, the newer takes the older's place."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Value:
    """What the function returned."""

    value: Any


class Saves:
    """What a task may use: what it saved when it was run before, and where to send more."""

    def __init__(self, saved: Mapping[str, bytes], send: Callable[[Saved], None]) -> None:
        self._saved = dict(saved)
        self._send = send
        self._sent_at = time.monotonic()

    def get(self, name: str) -> bytes | None:
        """Return what was saved under a name, before or now."""
        return self._saved.get(name)

    def age_s(self) -> float:
        """Return the seconds since anything was saved, or since the start."""
        return time.monotonic() - self._sent_at

    def put(self, name: str, data: bytes) -> None:
        """Save something."""
        self._saved[name] = data
        self._send(Saved(name, data))
        self._sent_at = time.monotonic()


def stream(function: Callable[..., Any], arguments: tuple[Any, ...], saved: Mapping[str, bytes]) -> Iterator[Any]:
    """Run a function whose last argument is its `Saves`; yield each `Saved`, and its `Value` at last. Errors pass."""
    items: queue.SimpleQueue[Saved | Value | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            items.put(Value(function(*arguments, Saves(saved, items.put))))
        except BaseException as exc:  # noqa: BLE001  it is raised again below, in the thread that is listened to
            items.put(exc)

    threading.Thread(target=work, name="task", daemon=True).start()
    while not isinstance(item := items.get(), Value):
        if isinstance(item, BaseException):
            raise item
        yield item
    yield item
