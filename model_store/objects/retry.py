"""Retry with exponential waits and full jitter, bounded in attempts and in time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long: the wait before attempt k + 1 is uniform in [0, min(cap_s, base_s · 2^k)].

    No attempt starts later than `deadline_s` after the first. `first_contact_attempts` bounds a call on a connection on
    which nothing has ever answered, so that a mistyped endpoint is reported in about a second.
    """

    attempts: int = 12
    deadline_s: float = 60.0
    base_s: float = 0.05
    cap_s: float = 5.0
    first_contact_attempts: int = 6

    def wait_s(self, failures: int, at_least_s: float) -> float:
        """Return how long to wait after `failures` failures, at least the `at_least_s` that the server asked for."""
        return max(at_least_s, random.uniform(0.0, min(self.cap_s, self.base_s * 2.0**failures)))  # noqa: S311


class TransientError(Exception):
    """An attempt that may succeed when it is made again; it never leaves the storage module.

    `retry_after_s` is the wait that the server asked for, 0 if none.
    """

    def __init__(self, cause: str, retry_after_s: float = 0.0) -> None:
        super().__init__(cause)
        self.retry_after_s = retry_after_s


def with_retries(
    attempt: Callable[[], Answer],
    policy: RetryPolicy,
    attempts: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Return the result of `attempt`, called again after each TransientError; raise the last one after all attempts."""
    started = clock()
    failures = 0
    while True:
        try:
            return attempt()
        except TransientError as exc:
            failures += 1
            wait_s = policy.wait_s(failures, exc.retry_after_s)
            if failures >= attempts or clock() - started + wait_s > policy.deadline_s:
                raise
        sleep(wait_s)
