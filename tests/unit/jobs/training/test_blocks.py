"""Blocks: every dataset in one of them, in order, none much larger than it should be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.training import driver
from jobs.training.driver import make_blocks
from tests.samples.datasets import dataset


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(3, 60), min_size=1, max_size=12), least=st.integers(1, 4))
def test_blocks_hold_every_dataset_once_in_order(sizes: list[int], least: int) -> None:
    datasets = [dataset(f"d{number}", num_rows=size) for number, size in enumerate(sizes)]
    made = make_blocks(datasets, num_blocks_min=least)
    assert [name for block in made.values() for name in block] == [each.name for each in datasets]
    assert all(block for block in made.values())


def test_blocks_of_equal_datasets_are_at_least_as_many_as_wanted() -> None:
    datasets = [dataset(f"d{number}") for number in range(8)]
    assert [len(block) for block in make_blocks(datasets, num_blocks_min=4).values()] == [2, 2, 2, 2]


def test_blocks_are_bounded_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = [dataset(f"d{number}") for number in range(6)]
    monkeypatch.setattr(driver, "BLOCK_BYTES", 2 * (datasets[0].x_nd.nbytes + datasets[0].y_n.nbytes))
    assert [len(block) for block in make_blocks(datasets, num_blocks_min=1).values()] == [2, 2, 2]


def test_blocks_are_named_by_what_they_hold() -> None:
    assert list(make_blocks([dataset("a")])) == ["a"]
    assert list(make_blocks([dataset("a"), dataset("b")], num_blocks_min=1)) == ["a … b"]


def test_blocks_of_no_dataset_are_none() -> None:
    assert make_blocks([]) == {}
