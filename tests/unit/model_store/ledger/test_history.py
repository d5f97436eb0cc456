"""Finding the newest version: few requests, however many versions there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model_store.ledger.history import History
from model_store.names import numbered
from model_store.objects.protocol import ObjectInfo


class Numbers:
    """A store of `count` empty versions that counts how often it is listed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.num_lists = 0

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        self.num_lists += 1
        first = int(after.rpartition("/")[2].partition(".")[0]) + 1 if after else 1
        last = min(self.count, first + (limit or self.count) - 1)
        return (ObjectInfo(numbered(prefix, number), 1, 0.0) for number in range(first, last + 1))


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 1999, 2000, 2001, 2500, 12_345, 1_000_000])
def test_head_number_is_exact(count: int) -> None:
    assert History(Numbers(count), "plants").head_number() == count  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "num_lists"), [(0, 1), (999, 1), (12_345, 12), (1_000_000, 40)])
def test_head_number_asks_little(count: int, num_lists: int) -> None:
    numbers = Numbers(count)
    History(numbers, "plants").head_number()  # type: ignore[arg-type]
    assert numbers.num_lists <= num_lists
