"""A task that saves: its items leave while it works, its value comes last, its error passes."""

from __future__ import annotations

import threading

import pytest

from jobs.cluster import checkpoint_stream
from jobs.cluster.checkpoint_stream import Message, Saved, Saves, Told, stream


def test_stream_yields_what_is_saved_before_the_function_returns() -> None:
    goes_on = threading.Event()

    def work(name: str, saves: Saves) -> int:
        saves.put(name, b"1")
        assert goes_on.wait(10)
        return 3

    items = stream(work, ("n",), {})
    assert next(items) == Saved("n", b"1")
    goes_on.set()
    assert list(items) == [3]


def test_stream_raises_the_error_of_the_function() -> None:
    def work(saves: Saves) -> None:
        saves.put("n", b"1")
        raise ValueError("bad")

    items = stream(work, (), {})
    next(items)
    with pytest.raises(ValueError, match="bad"):
        next(items)


def test_saves_returns_what_was_saved_before_and_now() -> None:
    sent: list[Message] = []
    saves = Saves({"old": b"1"}, sent.append)
    saves.put("new", b"2")
    assert (saves.get("old"), saves.get("new"), saves.get("none")) == (b"1", b"2", None)
    assert sent == [Saved("new", b"2")]
    assert saves.age_s() >= 0


@pytest.mark.parametrize(("every_s", "told"), [(0.0, [1, 2, 3]), (1e9, [])])
def test_saves_tells_epochs_as_often_as_it_may(
    monkeypatch: pytest.MonkeyPatch, every_s: float, told: list[int]
) -> None:
    monkeypatch.setattr(checkpoint_stream, "TELL_EVERY_S", every_s)
    sent: list[Message] = []
    saves = Saves({}, sent.append)
    for epoch in (1, 2, 3):
        saves.tell(epoch / 3, epoch, 3, 10)
    assert sent == [Told(epoch / 3, epoch, 3, 10 * epoch) for epoch in told]
