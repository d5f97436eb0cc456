"""Trying again: as often and as long as the policy says."""

from __future__ import annotations

import pytest

from model_store.objects.retry import RetryPolicy, TransientError, with_retries


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.now += wait_s


def failing(times: int, retry_after_s: float = 0.0) -> tuple[list[int], object]:
    calls: list[int] = []

    def attempt() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise TransientError("503", retry_after_s)
        return "done"

    return calls, attempt


def run(attempt: object, policy: RetryPolicy, clock: Clock) -> str:
    return with_retries(attempt, policy, policy.attempts, sleep=clock.sleep, clock=lambda: clock.now)  # type: ignore


def test_with_retries_returns_at_once_when_all_is_well() -> None:
    calls, attempt = failing(0)
    clock = Clock()
    assert run(attempt, RetryPolicy(), clock) == "done"
    assert (len(calls), clock.waits) == (1, [])


def test_with_retries_waits_longer_each_time_up_to_the_cap() -> None:
    policy = RetryPolicy(attempts=10, base_s=0.1, cap_s=1.0)
    _, attempt = failing(9)
    clock = Clock()
    assert run(attempt, policy, clock) == "done"
    limits = [min(1.0, 0.1 * 2**failure) for failure in range(1, 10)]
    assert all(0 <= wait_s <= limit_s for wait_s, limit_s in zip(clock.waits, limits, strict=True))
    assert len(set(clock.waits)) == 9


def test_with_retries_gives_up_after_the_attempts() -> None:
    calls, attempt = failing(99)
    with pytest.raises(TransientError, match="503"):
        run(attempt, RetryPolicy(attempts=4), Clock())
    assert len(calls) == 4


def test_with_retries_gives_up_at_the_deadline() -> None:
    calls, attempt = failing(99, retry_after_s=10.0)
    clock = Clock()
    with pytest.raises(TransientError):
        run(attempt, RetryPolicy(attempts=99, deadline_s=35.0), clock)
    assert (len(calls), clock.now) == (4, 30.0)


def test_with_retries_obeys_what_the_server_asks() -> None:
    _, attempt = failing(2, retry_after_s=7.0)
    clock = Clock()
    run(attempt, RetryPolicy(), clock)
    assert clock.waits == [7.0, 7.0]


def test_with_retries_lets_other_errors_through() -> None:
    def attempt() -> str:
        raise KeyError("other")

    with pytest.raises(KeyError):
        run(attempt, RetryPolicy(), Clock())
