"""Blocks of bounded size hold what the whole holds."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest

from jobs.errors import DataError
from jobs.sources import blocks as block_files
from jobs.sources import parquet as parquet_files
from jobs.sources.columns import Columns, Wanted
from jobs.sources.fragments import find_fragments
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import prefetched, read_columns
from model_store.objects.s3_settings import S3Settings

S3 = S3Settings()
WANTED = (Wanted("x"), Wanted("site", "text"), Wanted("y"))


def write(folder: Path, num_rows: int = 10_000) -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "x": random.normal(size=num_rows),
            "site": [f"site {site}" for site in random.integers(0, 9, num_rows)],
            "unused": ["a, b"] * num_rows,
            "y": random.integers(0, 5, num_rows),
        }
    )
    pq.write_table(table, folder / "t.parquet", row_group_size=num_rows // 3)
    table.to_pandas().to_csv(folder / "t.csv", index=False)


def blocks(folder: Path, source: str, batch_rows: int | None) -> list[Columns]:
    fragments = find_fragments([source], file_format="auto", options=ReadOptions(), folder=folder, s3=S3)
    if batch_rows is None:
        return list(read_columns(fragments, WANTED, S3))
    return list(read_columns(fragments, WANTED, S3, batch_rows=batch_rows))


def joined(parts: list[Columns]) -> dict[str, list[object]]:
    return {
        "x": [value for part in parts for value in part.numbers["x"].tolist()],
        "y": [value for part in parts for value in part.numbers["y"].tolist()],
        "site": [value for part in parts for value in part.texts["site"].cells().tolist()],
    }


@pytest.mark.parametrize("source", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("batch_rows", [1, 700, 100_000])
def test_streaming_gives_the_rows_of_the_whole(
    source: str, batch_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 10_000 if batch_rows > 1 else 60)
    monkeypatch.setattr(block_files, "BLOCK_BYTES", 10_000)
    parts = blocks(tmp_path, source, batch_rows)
    assert joined(parts) == joined(blocks(tmp_path, source, None))
    assert max(part.num_rows for part in parts) <= batch_rows
    assert all(set(part.numbers) == {"x", "y"} and set(part.texts) == {"site"} for part in parts)


@pytest.mark.parametrize("source", ["t.csv", "t.parquet"])
def test_streaming_says_where_in_the_file_a_block_begins(source: str, tmp_path: Path) -> None:
    write(tmp_path)
    row = 0
    for part in blocks(tmp_path, source, 900):
        assert part.first_row == row
        row += part.num_rows
    assert row == 10_000


def test_streaming_goes_on_when_truths_turn_up_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_files, "BLOCK_BYTES", 2_000)
    rows = [f"{row},a,{row % 2}" for row in range(3_000)]
    rows[2_500] = "2500,a, true "
    (tmp_path / "t.csv").write_text("\n".join(["x,site,y", *rows]))
    parts = blocks(tmp_path, "t.csv", 500)
    assert joined(parts)["x"] == list(range(3_000))
    assert joined(parts)["y"][2_499:2_502] == [1.0, 1.0, 1.0]
    assert [part.first_row for part in parts] == np.cumsum([0, *(part.num_rows for part in parts)])[:-1].tolist()


def test_streaming_names_the_line_of_a_bad_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_files, "BLOCK_BYTES", 2_000)
    rows = [f"{row},a,1" for row in range(3_000)]
    rows[2_500] = "2500,a,one"
    (tmp_path / "t.csv").write_text("\n".join(["x,site,y", *rows]))
    with pytest.raises(DataError, match=r"t\.csv:2502: column 'y': 'one' is not a number"):
        blocks(tmp_path, "t.csv", 500)


def test_streaming_reads_no_column_that_is_not_wanted(tmp_path: Path) -> None:
    write(tmp_path, 60)
    (part, *_) = blocks(tmp_path, "t.parquet", 10)
    assert "unused" not in part.numbers | part.texts


@pytest.mark.parametrize("source", ["t.csv", "t.parquet"])
def test_streaming_holds_a_few_blocks_whatever_the_size_of_the_file(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_files, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(parquet_files, "BUFFER_BYTES", 10_000)
    num_rows = 600_000
    table = pa.table({"x": np.arange(num_rows) / 7, "site": ["a"] * num_rows, "y": np.arange(num_rows)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=num_rows, use_dictionary=False)
    if source == "t.csv":
        arrow_csv.write_csv(table, tmp_path / "t.csv")
    before, highest, rows = pa.total_allocated_bytes(), 0, 0
    fragments = find_fragments([source], file_format="auto", options=ReadOptions(), folder=tmp_path, s3=S3)
    size = fragments[0].size_bytes if source == "t.csv" else (tmp_path / source).stat().st_size
    for part in read_columns(fragments, (Wanted("x"), Wanted("y")), S3, batch_rows=5_000):
        highest = max(highest, pa.total_allocated_bytes() - before)
        rows += part.num_rows
    assert rows == num_rows
    assert highest < size / 3


def test_prefetched_gives_every_item_in_order() -> None:
    assert list(prefetched(range(100), ahead=3)) == list(range(100))
    assert list(prefetched([])) == []


def test_prefetched_makes_items_ahead_while_the_caller_is_busy() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for at, event in enumerate(made):
            event.set()
            yield at

    found = prefetched(items(), ahead=2)
    assert next(found) == 0
    assert made[2].wait(timeout=10)
    assert list(found) == [1, 2, 3]


def test_prefetched_raises_what_the_items_raise_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise DataError("t.csv:3: bad")

    found = prefetched(items())
    assert next(found) == 1
    with pytest.raises(DataError, match=r"t\.csv:3: bad"):
        next(found)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_prefetched_ends_its_thread_when_the_caller_leaves(taken: int) -> None:
    before = set(threading.enumerate())
    found = prefetched(iter(int, 1), ahead=1)
    for _ in range(taken):
        next(found)
    started = set(threading.enumerate()) - before
    assert len(started) == (taken > 0)
    found.close()  # type: ignore[attr-defined]
    for thread in started:  # it ends after the item that it has begun
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_readers_that_garbage_collection_ends_do_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_files, "BLOCK_BYTES", 1_000)
    write(tmp_path, 2_000)
    fragments = find_fragments(["t.csv"], file_format="auto", options=ReadOptions(), folder=tmp_path, s3=S3)
    ring: list[object] = []
    for _ in range(20):
        found = prefetched(read_columns(fragments, WANTED, S3, batch_rows=10))
        next(found)
        ring = [found, ring]
        ring.append(ring)  # only the collector of cycles can end it
    with ThreadPoolExecutor(1) as pool:  # in another thread, as it happens
        del found, ring
        assert pool.submit(gc.collect).result(timeout=20) > 0
