"""Work beside the caller: in order, a bounded distance ahead, and never waited for while there is other work."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from jobs.engines.threads import map_ahead


@pytest.mark.parametrize(("number", "depth"), [(0, 0), (1, 1), (1, 3), (3, 2), (2, 8)])
def test_map_ahead_yields_every_value_in_order(number: int, depth: int) -> None:
    assert list(map_ahead(lambda value: value * 2, range(50), number, depth, "test")) == [2 * v for v in range(50)]


def test_map_ahead_takes_no_more_values_than_its_depth() -> None:
    taken: list[int] = []

    def values() -> Iterator[int]:
        for value in range(100):
            taken.append(value)
            yield value

    results = map_ahead(str, values(), 1, 4, "test")
    assert next(results) == "0"
    assert taken == [0, 1, 2, 3, 4]
    assert next(results) == "1"
    assert len(taken) == 6


def test_map_ahead_works_itself_while_a_thread_is_busy() -> None:
    begun, others_made, makers = threading.Event(), threading.Event(), {}

    def values() -> Iterator[int]:
        yield 0
        assert begun.wait(60)
        yield from (1, 2, 3)

    def make(value: int) -> int:
        makers[value] = threading.current_thread()
        if value == 0:
            begun.set()
            assert others_made.wait(60)
        elif len(makers) == 4:
            others_made.set()
        return value

    assert list(map_ahead(make, values(), 1, 3, "test")) == [0, 1, 2, 3]
    assert makers[0] is not threading.main_thread()
    assert all(makers[value] is threading.main_thread() for value in (1, 2, 3))


@pytest.mark.parametrize("number", [0, 2])
def test_map_ahead_raises_what_was_raised(number: int) -> None:
    results = map_ahead(lambda value: 1 // (2 - value), range(5), number, 3, "test")
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
