"""Pages of names have those that a look at each name would find, once and in order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.description.listing import MAX_LIMIT, Asked, Page, page_of
from handler.errors import PayloadError
from handler.models.text_table import TextTable

LETTERS = st.text(st.sampled_from("abcé𝄞"), max_size=4)
NAMES = st.sets(st.text(st.sampled_from("abcé𝄞"), min_size=1, max_size=5), min_size=1, max_size=30)


def pages(names: TextTable, asked: Asked) -> list[Page]:
    found = [page_of(names, asked)]
    while found[-1].next is not None:
        found.append(page_of(names, replace(asked, after=found[-1].next)))
        assert len(found) <= len(names) + 1
    return found


@given(NAMES, st.integers(1, 5), st.none() | LETTERS, LETTERS, LETTERS)
def test_pages_list_each_name_once_and_in_order(
    names: set[str], limit: int, after: str | None, prefix: str, contains: str
) -> None:
    ordered = sorted(names, key=str.encode)
    asked = Asked(limit, after, prefix, contains)
    expected = [
        name
        for name in ordered
        if (after is None or name.encode() > after.encode()) and name.startswith(prefix) and contains in name
    ]
    found = pages(TextTable.of(ordered), asked)
    assert [name for page in found for name in page.datasets] == expected
    assert all(len(page.datasets) <= limit for page in found)


def test_a_text_that_is_across_many_names_makes_short_pages_and_is_found_at_last() -> None:
    ordered = sorted([*(f"s{at:05d}0" for at in range(25_000)), "s00012x0s", "s24000-0s-0s"])
    found = pages(TextTable.of(ordered), Asked(contains="0s"))
    assert [name for page in found for name in page.datasets] == ["s00012x0s", "s24000-0s-0s"]
    assert len(found) == 3


def test_a_page_of_many_bytes_of_names_ends_at_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.description.listing.MAX_SCANNED_BYTES", 40)
    ordered = [f"name-{at:03d}" for at in range(100)]
    found = pages(TextTable.of(ordered), Asked(contains="9"))
    assert [name for page in found for name in page.datasets] == [name for name in ordered if "9" in name]
    assert len(found) == 20


def test_half_a_surrogate_pair_is_no_error() -> None:
    assert page_of(TextTable.of(["a"]), Asked(after="\ud800", prefix="\ud800", contains="\udcff")) == Page([], None)


@pytest.mark.parametrize("limit", ["0", "-1", "", "ten", "1.5", "²", "10001", "9" * 5000])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    with pytest.raises(PayloadError, match=f"parameter 'limit' is .*: give the number of datasets, .*{MAX_LIMIT}"):
        Asked.of({"limit": limit})
