"""Progress: lines where there is no terminal, and nothing where it is to be quiet."""

from __future__ import annotations

import io

import pytest

from jobs import progress
from jobs.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def counted(stream: io.StringIO, *, quiet: bool = False) -> str:
    with Progress(stream, quiet).counting("datasets trained", 3) as advance:
        for name in "abc":
            advance(name)
    return stream.getvalue()


def test_progress_says_the_last_of_a_quick_count_only() -> None:
    assert counted(io.StringIO()) == "gridline: 3 of 3 datasets trained (last: c), 0 s left\n"


def test_progress_says_each_when_they_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    lines = counted(io.StringIO()).splitlines()
    assert [line.partition(" datasets")[0] for line in lines] == [f"gridline: {done} of 3" for done in (1, 2, 3)]


def test_progress_that_is_quiet_says_nothing() -> None:
    stream = io.StringIO()
    Progress(stream, quiet=True).say("hello")
    assert counted(stream, quiet=True) == ""


def test_progress_on_a_terminal_leaves_no_line_behind() -> None:
    written = counted(Terminal())
    assert "3 of 3 datasets trained" in written
    assert "gridline: " not in written
