"""Sums and rows that don't fit in memory are refused in one line, before they are made; others are not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handler.rows.model_card import Feature, ModelCard
from jobs.config import JobConfig, make_config
from jobs.errors import DataError
from jobs.groups.outcome import GroupsOutcome
from jobs.groups.scan import room
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import packed_width
from jobs.progress import Progress
from jobs.run import run_job
from jobs.sources import room as room_of_rows
from jobs.sources.job_datasets import read_datasets
from model_store import open_ledger
from tests.servers.inline_cluster import InlineCluster

LEVELS = 120
GROUPS = 40


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = range(GROUPS * 12)
    table = pa.table(
        {
            "site": [f"site {row % GROUPS}" for row in rows],
            "soil": [f"soil {row % LEVELS}" for row in rows],
            "area": [float(row * 7 % 31) for row in rows],
            "yield": [float(row * row % 17) for row in rows],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def job(source: Path, group_by: list[str], **soil: object) -> JobConfig:
    features = ["area", {"name": "soil", "kind": "categorical", **soil}]
    dataset = {"name": "sites", "source": str(source), "target": "yield", "features": features, "group_by": group_by}
    grid = {"learning_rate": [1e-4]}
    return make_config({"name": "c", "datasets": [dataset], "grid": grid, "select": {"require": "finite"}})


def run(source: Path, folder: Path, **soil: object) -> GroupsOutcome:
    ledger = open_ledger(str(folder / "store"))
    outcome = run_job(job(source, ["site"], **soil), folder, ledger, progress=Progress(quiet=True))
    return outcome.fleets[0]


def sums_of_all() -> int:
    return GROUPS * packed_width(LEVELS + 1) * 8


def test_sums_that_no_node_has_memory_for_are_refused_before_the_scan(
    source: Path, tmp_path: Path, inline_cluster: InlineCluster
) -> None:
    inline_cluster.node_bytes = room.LEAST_COPIES * sums_of_all() - 1
    with pytest.raises(DataError) as caught:
        run(source, tmp_path)
    message = str(caught.value)
    assert "dataset 'sites': the sums of 40 groups with 121 columns take 7.3 MB in one task, and the largest" in message
    assert "node has 7.3 MB: set 'min_count' for 'soil' (120 levels), so that rare levels share a column" in message
    assert not any(" scan " in key for key in inline_cluster.keys)


def test_sums_that_a_node_has_memory_for_are_made(source: Path, tmp_path: Path, inline_cluster: InlineCluster) -> None:
    inline_cluster.node_bytes = room.LEAST_COPIES * sums_of_all()
    groups = run(source, tmp_path)
    assert groups.num_trained + len(groups.failures) + len(groups.unconverged) == GROUPS


def test_remedy_of_too_large_sums_works(source: Path, tmp_path: Path, inline_cluster: InlineCluster) -> None:
    inline_cluster.node_bytes = room.LEAST_COPIES * sums_of_all() - 1
    assert run(source, tmp_path, min_count=10).error is None


def test_chunk_whose_sums_do_not_fit_is_refused_where_it_is_read(
    source: Path, tmp_path: Path, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MANY_BYTES", 1000)
    monkeypatch.setattr(room, "available_bytes", lambda: 1_000_000)
    with pytest.raises(
        DataError, match=r"dataset 'sites': the sums of 40 groups .*, and node '.*' has 1.0 MB: set 'min"
    ):
        run(source, tmp_path)


def test_room_that_is_not_known_refuses_nothing() -> None:
    layout = Layout("sites", _card(), ("site",), None, None)
    room.require_room(10**9, layout, None, place="the largest node")


def test_rows_of_a_listed_dataset_that_do_not_fit_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = read_datasets(job(source, []), tmp_path)
    monkeypatch.setattr(room_of_rows, "available_bytes", lambda: whole.x_nd.nbytes - 1)
    with pytest.raises(DataError, match=r"480 rows with \d+ columns take .* for 'soil' \(120 levels\)"):
        read_datasets(job(source, []), tmp_path)
    monkeypatch.setattr(room_of_rows, "available_bytes", lambda: whole.x_nd.nbytes)
    assert (read_datasets(job(source, []), tmp_path)[0].x_nd == whole.x_nd).all()


def _card() -> ModelCard:
    return ModelCard("yield", (Feature("area"),), True)
