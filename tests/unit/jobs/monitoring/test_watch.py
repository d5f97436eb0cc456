"""The numbers of a job while it runs."""

from __future__ import annotations

import time

import pytest

from jobs.cluster.tasks import Attempt, Outcome, Task
from jobs.cluster.usage import Usage, measured
from jobs.monitoring.watch import Span, Watch


def test_phases_within_others_stop_their_clock() -> None:
    watch = Watch()
    with watch.phase("commit"):
        with watch.phase("compare"):
            busy(0.02)
        busy(0.01)
    assert watch.phase_s["compare"] >= 0.02
    assert 0.01 <= watch.phase_s["commit"] < 0.02 + watch.phase_s["compare"]
    assert sum(watch.phase_s.values()) <= watch.duration_s


def test_phases_of_one_name_are_added_also_after_an_error() -> None:
    watch = Watch()
    with pytest.raises(ValueError, match="wrong"), watch.phase("read"):
        busy(0.01)
        raise ValueError("wrong")
    with watch.phase("read"):
        busy(0.01)
    assert watch.phase_s["read"] >= 0.02


def test_tasks_are_counted_with_their_cpu_seconds_and_lost_attempts() -> None:
    spans = list[Span]()
    watch = Watch(spans.append)
    with watch.phase("train"):
        watch.ended(Outcome("a", failures=("lost",), usage=Usage(1.0, 3.0, 1.5)))
        watch.ended(Outcome("b", error=ValueError("wrong")))
    assert (watch.counts["worker_cpu_s"], watch.counts["lost_tasks"], watch.counts["tasks"]) == (1.5, 1, 2)
    assert [(each.name, each.task, each.cpu_s) for each in spans] == [("train", "a", 1.5), ("train", None, 0.0)]


def test_measured_value_has_the_cpu_seconds_of_the_call() -> None:
    used = measured(busy, (0.05,))
    ended = Attempt(Task("a", busy, (0.05,))).ended(used)
    assert ended.value == 0.05
    assert ended.usage is not None
    assert 0 < ended.usage.cpu_s <= 0.2
    assert ended.usage.started_at <= ended.usage.ended_at


def test_measured_parts_follow_the_summary() -> None:
    used, *parts = measured(lambda: [3, "a", "b"], (), has_parts=True)
    assert (used.value, parts) == (3, ["a", "b"])


def busy(seconds: float) -> float:
    """Work for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds
