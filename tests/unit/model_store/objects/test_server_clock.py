"""The clock of a server, read off Date headers of whole seconds."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from model_store.objects import server_clock
from model_store.objects.server_clock import ServerClock


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Our own clock, which the test sets."""
    now = [1_000_000.9]
    monkeypatch.setattr(server_clock.time, "time", lambda: now[0])
    return now


def note(clock: ServerClock, server_s: float) -> None:
    clock.note(formatdate(int(server_s), usegmt=True))


def test_clock_is_ours_until_the_server_has_answered(local: list[float]) -> None:
    clock = ServerClock()
    clock.note(None)
    assert (clock.is_known, clock.now()) == (False, local[0])


def test_clock_follows_a_server_that_is_ahead(local: list[float]) -> None:
    clock = ServerClock()
    note(clock, local[0] + 3600)
    assert clock.is_known
    assert clock.now() == pytest.approx(local[0] + 3600, abs=1.0)


def test_clock_does_not_go_back_for_cut_off_fractions(local: list[float]) -> None:
    clock = ServerClock()
    for fraction in (0.0, 0.9, 0.5):
        local[0] = 1_000_000 + fraction
        note(clock, local[0])
    assert clock.now() == pytest.approx(local[0])


def test_clock_follows_one_that_was_set_back(local: list[float]) -> None:
    clock = ServerClock()
    note(clock, local[0] + 3600)
    note(clock, local[0])
    assert clock.now() == pytest.approx(local[0], abs=1.0)
