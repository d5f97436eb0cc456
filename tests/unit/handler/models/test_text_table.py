from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handler.models.text_table import NameIndex, TextTable

names_of_any_kind = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(names_of_any_kind, unique=True, max_size=200))
def test_index_finds_every_name_and_no_other(names: list[str]) -> None:
    index = NameIndex.of(names)
    assert [index.find(name) for name in names] == list(range(len(names)))
    assert index.find("x".join(names) + "not there") == -1


@given(st.lists(names_of_any_kind, max_size=50))
def test_table_gives_back_what_it_was_made_of(texts: list[str]) -> None:
    table = TextTable.of(texts)
    assert [table[position] for position in range(len(table))] == texts


def test_find_does_not_take_half_a_surrogate_pair_for_a_name() -> None:
    assert NameIndex.of(["a"]).find("\ud800") == -1


def test_half_of_the_slots_stay_empty() -> None:
    index = NameIndex.of([f"store-{i}" for i in range(1000)])
    assert (index.slots >= 0).sum() == 1000
    assert len(index.slots) >= 2000


def test_a_million_names_take_less_than_100_megabytes() -> None:
    index = NameIndex.of([f"store-{i:08d}-of-the-north" for i in range(100_000)])
    size_bytes = index.slots.nbytes + index.names.utf8.nbytes + index.names.end_n.nbytes
    assert size_bytes * 10 <= 100e6
    assert index.slots.dtype == np.int32
