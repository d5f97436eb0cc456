"""What a task took on its worker: its times, and the CPU seconds of all threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usage:
    """When a task ran, in seconds since the epoch by its node's clock, and its CPU seconds."""

    started_at: float
    ended_at: float
    cpu_s: float


@dataclass(frozen=True)
class Used:
    """The value of a task, with its usage."""

    value: Any
    usage: Usage


def measured(function: Callable[..., Any], arguments: Sequence[Any], *, has_parts: bool = False) -> Any:
    """Return `Used` with the value of a call; the first of several values, with the others behind it."""
    started_at, cpu_s = time.time(), time.process_time()
    value = function(*arguments)
    usage = Usage(started_at, time.time(), time.process_time() - cpu_s)
    if has_parts:
        first, *parts = value
        return (Used(first, usage), *parts)
    return Used(value, usage)
