"""A dataset that does not fit in memory, by minibatches: read again in every epoch, in a fixed budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs.engines.minibatch.streaming import pieces_of
from jobs.engines.moments import empty_moments
from jobs.engines.threads import num_threads
from jobs.errors import DataError
from jobs.groups.scan import stream as fleet_stream
from jobs.groups.scan.layout import initial_layout
from jobs.groups.scan.stream import RowStream, Source, StreamedChunks
from jobs.recipe import make_recipe
from jobs.sources.job_datasets import read_datasets, resolve_job, resolve_source
from jobs.training.datasets import train_dataset
from model_store.objects.s3_settings import S3Settings
from tests.samples.group_tables import documents_of, job_of, random_groups, train_groups, trials_of

CLOSE = {"rel": 2e-5, "abs": 2e-5}
SMALL: dict[str, Any] = {"epochs": 6, "normalize": True}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a task."""
    with num_threads(1):
        yield


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return random_groups(20, seed=1, rows=(30, 60)).drop_columns("site")


def streamed(folder: Path, source: str, **settings: Any) -> dict[str, Any]:
    return documents_of(train_groups(job_of(source, group_by=None, **settings), folder))["sites"]


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ({"optimizer": "adam"}, {"fraction": 0.25, "seed": 3}),
        ({"optimizer": "adamw", "loss": "huber"}, {"folds": 3, "seed": 1}),
        ({"optimizer": "rmsprop", "momentum": 0.5, "loss": "huber"}, {"fraction": 0.25, "seed": 3}),
        ({"engine": "minibatch", "momentum": 0.5}, None),
        ({"loss": "quantile", "early_stopping": {"patience": 1, "tolerance": 0.2}}, {"fraction": 0.25, "seed": 3}),
    ],
)
def test_streaming_full_batches_equals_training_in_memory(
    tmp_path: Path, table: pa.Table, training: dict[str, Any], validation: dict[str, Any] | None
) -> None:
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=150)
    settings = {"validation": validation, **SMALL, **training}
    config = job_of("all.parquet", group_by=None, **settings)
    (dataset,) = read_datasets(config, tmp_path)
    expected = trials_of(train_dataset(dataset, make_recipe(config)))
    found = streamed(tmp_path, "all.parquet", **settings)
    assert found["best"] is not None
    for ours, alone in zip(found["trials"], expected, strict=True):
        same = ("engine", "epoch", "status", "diverged_at")
        assert [ours[key] for key in same] == [alone[key] for key in same]
        assert ours["coefficients"] == pytest.approx(alone["coefficients"], **CLOSE)
        numbers = [key for key in ("train_mse", "val_mse", "r2") if alone[key] is not None]
        assert [ours[key] for key in numbers] == pytest.approx([alone[key] for key in numbers], **CLOSE)


@pytest.mark.parametrize("validation", [None, {"fraction": 0.25, "seed": 3}, {"folds": 3, "seed": 1}])
def test_streaming_gives_the_same_for_one_file_and_for_several_and_for_any_block(
    tmp_path: Path, table: pa.Table, validation: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=100)
    (tmp_path / "cut").mkdir()
    for number, at in enumerate(range(0, len(table), 100)):
        pq.write_table(table.slice(at, 100), tmp_path / "cut" / f"{number:02}.parquet")
    settings = {"validation": validation, **SMALL, "batch_size": 32}
    one = streamed(tmp_path, "all.parquet", **settings)
    several = streamed(tmp_path, "cut/*.parquet", **settings)
    monkeypatch.setattr(fleet_stream, "chunk_rows", lambda columns, memory_mb: 37)
    blocks = streamed(tmp_path, "all.parquet", **settings)
    assert [trial["coefficients"] for trial in one["trials"]] == [trial["coefficients"] for trial in blocks["trials"]]
    for ours, theirs in zip(several["trials"], one["trials"], strict=True):
        assert ours["coefficients"] == pytest.approx(theirs["coefficients"], **CLOSE)


def test_streaming_minibatches_learns_what_training_in_memory_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    area, slope = rng.normal(size=4000), rng.normal(size=4000)
    target = 1 + 2 * area - slope + rng.normal(0, 0.1, 4000)
    pa_table = pa.table({"area": area, "slope": slope, "yield": target})
    pq.write_table(pa_table, tmp_path / "all.parquet", row_group_size=500)
    found = streamed(tmp_path, "all.parquet", features=["area", "slope"], batch_size=50, epochs=8)
    assert found["best"]["engine"] == "minibatch"
    assert found["best"]["coefficients"] == pytest.approx({"intercept": 1, "area": 2, "slope": -1}, abs=0.02)


def stream_of(folder: Path, source: str, num_rows: int, memory_mb: int = 64) -> StreamedChunks:
    config = job_of(source, ["area"], group_by=None, batch_size=8)
    resolved = resolve_source(config.datasets[0], folder, S3Settings())
    layout = initial_layout(resolved)
    rows = RowStream(
        Source(resolved.fragments, S3Settings(), memory_mb), layout, np.array([0]), True, 7, torch.float32, "mse"
    )
    moments = replace(empty_moments(1, 1), num_rows_m=torch.tensor([float(num_rows)]))
    return rows.chunks(None, moments, without=None, within=None)


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    values = pa.array(np.arange(1000.0))
    pq.write_table(pa.table({"area": values, "yield": values}), tmp_path / "all.parquet", row_group_size=100)
    return tmp_path


def test_read_gives_every_row_once_in_an_order_of_the_epoch(numbered: Path) -> None:
    chunks = stream_of(numbered, "all.parquet", 1000)
    first, again, second = (torch.cat(list(chunks.read(epoch)))[:, 0].tolist() for epoch in (1, 1, 2))
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first == again
    assert first != second
    assert torch.cat(list(chunks.read(None)))[:, 0].tolist() == list(range(1000))


def test_read_shuffles_within_windows_of_a_bounded_size(numbered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window_rows = 250
    monkeypatch.setattr(fleet_stream, "SHARE_OF_MEMORY", 64 * 2**20 // (window_rows * 3 * 4))
    windows = [chunk[:, 0] for chunk in stream_of(numbered, "all.parquet", 1000).read(3)]
    assert [len(window) for window in windows] == [window_rows] * 4
    assert all(len(set((window // 100).tolist())) in (3, 4) for window in windows)  # of the row groups that it holds


def test_read_of_a_source_that_changed_is_refused(numbered: Path) -> None:
    for expected in (999, 1001):
        with pytest.raises(DataError, match="the files changed while they were read"):
            list(stream_of(numbered, "all.parquet", expected).read(1))


def test_pieces_go_on_from_one_chunk_to_the_next() -> None:
    chunks = [torch.full((size, 1), float(at)) for at, size in enumerate((5, 1, 7))]
    pieces = [replace(loaded.piece) for loaded in pieces_of(chunks, 13, 4)]
    assert [(piece.begin, piece.end, piece.batch_rows) for piece in pieces] == [
        *((0, 4, 4), (4, 5, 4), (5, 6, 4), (6, 8, 4), (8, 12, 4), (12, 13, 1)),
    ]
    assert [(piece.opens, piece.closes) for piece in pieces] == [
        *((True, True), (True, False), (False, False), (False, True), (True, True), (True, True)),
    ]


def test_resolve_job_streams_by_minibatches_what_takes_more_than_a_quarter_of_the_memory(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_bytes(b"a,b\n" * (17 * 2**18))
    for memory_mb, workers, expected in ((64, 1, True), (128, 1, False), (64, 2, False)):
        config = job_of(
            "all.csv", ["a"], target="b", group_by=None, batch_size=8, memory_mb=memory_mb, num_workers=workers
        )
        assert bool(resolve_job(config, tmp_path).scanned) is expected
