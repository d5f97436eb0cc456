"""The champion table: its schema, its order, and how it is cut into shards."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import CorruptObjectError, StoreError
from model_store.ledger import champion_table
from model_store.ledger.champion_columns import COLUMNS, row_problem
from model_store.ledger.champion_table import (
    CHAMPION_SCHEMA,
    SHARD_ROWS,
    conform,
    cut,
    read_shard,
    rows_to_table,
    shard_bytes,
)

ROW = {"dataset": "a", "checkpoint": "0" * 64, "checkpoint_size": 10, "row": 0}


def test_schema_has_the_documented_columns() -> None:
    assert CHAMPION_SCHEMA.names == [column.name for column in COLUMNS]
    assert [field.name for field in CHAMPION_SCHEMA if not field.nullable] == [
        "dataset",
        "checkpoint",
        "checkpoint_size",
        "row",
    ]


def test_rows_to_table_sorts_by_dataset() -> None:
    table = rows_to_table([ROW | {"dataset": name} for name in ("b", "é", "a", "Z", "10", "9")])
    assert table["dataset"].to_pylist() == sorted(["b", "é", "a", "Z", "10", "9"])


def test_conform_adds_empty_columns_and_drops_unknown_ones() -> None:
    table = conform(pa.Table.from_pylist([ROW | {"newer": 1}]))
    assert table.schema == CHAMPION_SCHEMA and table["score"].to_pylist() == [None]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_conform_makes_numbers_that_are_not_finite_null(value: float) -> None:
    assert rows_to_table([ROW | {"r2": value}])["r2"].to_pylist() == [None]


def test_conform_refuses_a_dataset_that_is_there_twice() -> None:
    with pytest.raises(StoreError, match="dataset 'a' is twice"):
        rows_to_table([ROW, ROW | {"dataset": "b"}, ROW])


def test_conform_refuses_a_missing_column() -> None:
    with pytest.raises(StoreError, match="has no column 'row'"):
        conform(pa.Table.from_pylist([{name: ROW[name] for name in ("dataset", "checkpoint", "checkpoint_size")}]))


def test_conform_refuses_an_empty_cell() -> None:
    with pytest.raises(StoreError, match=r"column 'checkpoint' .* has an empty cell"):
        rows_to_table([ROW | {"checkpoint": None}])


def test_conform_refuses_another_type() -> None:
    with pytest.raises(StoreError, match="does not fit its columns"):
        rows_to_table([ROW | {"row": "first"}])
    with pytest.raises(StoreError, match="column 'row' of the champion table is not int64"):
        conform(pa.Table.from_pylist([ROW | {"row": "first"}]))


def test_part_bytes_of_equal_rows_are_equal() -> None:
    rows = [ROW | {"dataset": f"d{number}", "score": number / 7} for number in range(500)]
    assert shard_bytes(rows_to_table(rows)) == shard_bytes(rows_to_table(reversed(rows)))
    assert read_shard("p", shard_bytes(rows_to_table(rows))) == rows_to_table(rows)


@pytest.mark.parametrize("data", [b"", b"rubbish", b"PAR1" * 10, shard_bytes(pa.table({"x": [1]}))])
def test_read_part_names_what_is_not_one(data: bytes) -> None:
    with pytest.raises(CorruptObjectError, match=r"blobs/p\.parquet is corrupt: it is not a shard"):
        read_shard("blobs/p.parquet", data)


def test_cut_fills_parts_evenly() -> None:
    names = [f"{number:07d}" for number in range(3 * SHARD_ROWS + 1)]
    starts = cut(names, [])
    lengths = [stop - start for start, stop in zip(starts, [*starts[1:], len(names)], strict=True)]
    assert len(lengths) == 4 and max(lengths) - min(lengths) <= 1


@given(
    names=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, unique=True),
    boundaries=st.lists(st.text("abc", min_size=1, max_size=4)),
)
def test_cut_is_a_partition_into_parts_that_are_short_enough(names: list[str], boundaries: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(champion_table, "SHARD_ROWS", 4)
        starts = cut(sorted(names), sorted(boundaries))
    stops = [*starts[1:], len(names)]
    assert starts[0] == 0
    assert all(0 < stop - start <= 4 for start, stop in zip(starts, stops, strict=True))


def test_cut_keeps_the_boundaries_of_the_parent() -> None:
    names = [f"{number:07d}" for number in range(2 * SHARD_ROWS)]
    starts = cut(names, [])
    boundaries = [names[start] for start in starts]
    assert cut([*names, "9999999x"], boundaries)[:2] == starts


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"dataset": None}, "'dataset' is missing"),
        ({"row": True}, "'row' is True, not int"),
        ({"score": 1}, None),
        ({"score": "1"}, "'score' is '1', not float"),
        ({"checkpoint": 5}, "'checkpoint' is 5, not str"),
    ],
)
def test_row_problem_says_what_is_wrong(change: dict[str, object], expected: str | None) -> None:
    assert row_problem(ROW | change) == expected
