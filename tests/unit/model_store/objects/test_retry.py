"""Trying again: as long as the policy says, and no longer than the process lives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from model_store.objects import retry
from model_store.objects.protocol import in_parallel
from model_store.objects.retry import Retry, RetryPolicy, TransientError, with_retries, within


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.now += wait_s


def failing(times: float, retry_after_s: float = 0.0) -> tuple[list[int], Callable[[], str]]:
    calls: list[int] = []

    def attempt() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise TransientError("503", retry_after_s)
        return "done"

    return calls, attempt


def run(attempt: Callable[[], str], policy: RetryPolicy, clock: Clock) -> str:
    return with_retries(attempt, Retry("a bucket", policy, sleep=clock.sleep, clock=lambda: clock.now))


def test_with_retries_returns_at_once_when_all_is_well() -> None:
    calls, attempt = failing(0)
    clock = Clock()
    assert run(attempt, RetryPolicy(), clock) == "done"
    assert (len(calls), clock.waits) == (1, [])


def test_with_retries_waits_longer_each_time_up_to_the_cap() -> None:
    policy = RetryPolicy(base_s=0.1, cap_s=1.0)
    _, attempt = failing(9)
    clock = Clock()
    assert run(attempt, policy, clock) == "done"
    limits = [min(1.0, 0.1 * 2**failure) for failure in range(1, 10)]
    assert all(0 <= wait_s <= limit_s for wait_s, limit_s in zip(clock.waits, limits, strict=True))
    assert len(set(clock.waits)) == 9


@pytest.mark.parametrize("deadline_s", [0.5, 60.0, 900.0])
def test_with_retries_tries_for_the_whole_time_and_once_at_its_end(deadline_s: float) -> None:
    calls, attempt = failing(float("inf"))
    clock = Clock()
    with pytest.raises(TransientError, match="503"):
        run(attempt, RetryPolicy(deadline_s=deadline_s), clock)
    assert clock.now == pytest.approx(deadline_s) and len(calls) == len(clock.waits) + 1


def test_with_retries_without_time_tries_once() -> None:
    calls, attempt = failing(1)
    with pytest.raises(TransientError):
        run(attempt, RetryPolicy(deadline_s=0.0), Clock())
    assert len(calls) == 1


def test_with_retries_gives_up_when_the_server_asks_for_more_time_than_is_left() -> None:
    calls, attempt = failing(99, retry_after_s=10.0)
    clock = Clock()
    with pytest.raises(TransientError):
        run(attempt, RetryPolicy(deadline_s=35.0), clock)
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


def test_within_shortens_a_policy_and_never_lengthens_it() -> None:
    with within(5.0), within(30.0):
        assert Retry("a bucket", RetryPolicy(deadline_s=60.0)).limit_s == 5.0
        assert Retry("a bucket", RetryPolicy(deadline_s=1.0)).limit_s == 1.0
    assert Retry("a bucket", RetryPolicy(deadline_s=60.0)).limit_s == 60.0


def test_within_holds_for_calls_in_parallel() -> None:
    with within(2.0):
        assert in_parallel(lambda _: Retry("a bucket", RetryPolicy()).limit_s, range(5)) == [2.0] * 5


def test_retry_has_its_whole_time_again_after_a_success() -> None:
    clock = Clock()
    reading = Retry("a bucket", RetryPolicy(deadline_s=10.0), sleep=clock.sleep, clock=lambda: clock.now)
    while reading.pause("503"):
        pass
    reading.succeeded()
    assert reading.pause("503")


def test_stop_retrying_ends_the_wait_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    ending, tried, errors = threading.Event(), threading.Event(), []
    monkeypatch.setattr(retry, "_ending", ending)

    def attempt() -> str:
        tried.set()
        raise TransientError("503", 3600.0)

    def work() -> None:
        try:
            with_retries(attempt, Retry("a bucket", RetryPolicy(deadline_s=7200.0), sleep=ending.wait))
        except TransientError as exc:
            errors.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert tried.wait(10)
    began_at = time.monotonic()
    retry.stop_retrying()
    thread.join(10)
    assert len(errors) == 1 and time.monotonic() - began_at < 10
    assert not Retry("a bucket", RetryPolicy(), sleep=ending.wait).pause("503")


def test_retry_says_after_some_seconds_what_it_waits_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_said_at", float("-inf"))
    clock = Clock()
    _, attempt = failing(float("inf"))
    with caplog.at_level(logging.WARNING), pytest.raises(TransientError):
        run(attempt, RetryPolicy(deadline_s=60.0), clock)
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("a bucket does not answer (503): trying again for 5")
    assert 2 <= len(said) <= 4  # one every 15 s of 60
