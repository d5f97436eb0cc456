"""Try a call again until it succeeds or its time is over: one rule for every call to S3, for models and for data."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")

NOTICE_S = 3.0  # a call that has failed for so long says that it is tried again,
SAY_EVERY_S = 15.0  # and a process says it so often

log = logging.getLogger(__name__)
_ending = threading.Event()
_patience_s: ContextVar[float] = ContextVar("patience_s", default=math.inf)
_said_at = -math.inf


@dataclass(frozen=True)
class RetryPolicy:
    """How long: a call is tried again for `deadline_s`, whatever it is for, and for the last time at its end.

    The wait before attempt k + 1 is uniform in [0, min(cap_s, base_s · 2^k)].
    """

    deadline_s: float = 60.0
    base_s: float = 0.05
    cap_s: float = 5.0

    def wait_s(self, failures: int, at_least_s: float) -> float:
        """Return how long to wait after `failures` failures, at least the `at_least_s` that the server asked for."""
        longest_s = min(self.cap_s, self.base_s * 2.0 ** min(failures, 30))
        return max(at_least_s, random.uniform(0.0, longest_s))  # noqa: S311


class TransientError(Exception):
    """An attempt that may succeed when it is made again; it never leaves the storage module.

    `retry_after_s` is the wait that the server asked for, 0 if none.
    """

    def __init__(self, cause: str, retry_after_s: float = 0.0) -> None:
        super().__init__(cause)
        self.retry_after_s = retry_after_s


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Try the calls inside again for at most so many seconds each (0: not again), where their policy has more."""
    token = _patience_s.set(min(seconds, _patience_s.get()))
    try:
        yield
    finally:
        _patience_s.reset(token)


def stop_retrying() -> None:
    """End the waits of all threads, and try nothing again from now on: this process is about to end."""
    _ending.set()


class Retry:
    """The attempts of one call at `where`: `pause` waits before the next one, or says that there is none."""

    def __init__(
        self,
        where: str,
        policy: RetryPolicy,
        *,
        sleep: Callable[[float], object] = _ending.wait,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_s = min(policy.deadline_s, _patience_s.get())
        self._where, self._policy = where, policy
        self._sleep, self._clock = sleep, clock
        self._failures = 0
        self._started_at = clock()

    def succeeded(self) -> None:
        """Begin anew: what comes next has the whole time again."""
        self._failures, self._started_at = 0, self._clock()

    def pause(self, cause: str, at_least_s: float = 0.0) -> bool:
        """Wait after a failure; return False, at once, if there is no time for another attempt."""
        self._failures += 1
        spent_s = self._clock() - self._started_at
        left_s = self.limit_s - spent_s
        if left_s <= 0 or at_least_s > left_s or _ending.is_set():
            return False
        if spent_s >= NOTICE_S:
            _say(f"{self._where} does not answer ({cause}): trying again for {left_s:.0f} s", self._clock())
        self._sleep(min(self._policy.wait_s(self._failures, at_least_s), left_s))
        return not _ending.is_set()


def with_retries(attempt: Callable[[], Answer], retry: Retry) -> Answer:
    """Return the result of `attempt`, called again after each TransientError; raise the last one at the end."""
    while True:
        try:
            return attempt()
        except TransientError as exc:
            if not retry.pause(str(exc), exc.retry_after_s):
                raise


def _say(message: str, now: float) -> None:
    """Log a message, unless one of another call or another thread is young."""
    global _said_at  # noqa: PLW0603
    if now - _said_at >= SAY_EVERY_S:
        _said_at = now
        log.warning("%s", message)
