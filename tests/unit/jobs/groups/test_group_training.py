"""A fleet's models are those of its groups trained one at a time, however the rows are laid out and dealt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.champions.commit import commit_better
from jobs.champions.rescoring import NOT_KEPT
from jobs.config.job import SelectConfig
from jobs.groups import outcome as fleet_outcome
from jobs.groups import scanning
from jobs.groups.scan import partial
from jobs.groups.scan import scan as fleet_scan
from model_store import open_ledger
from tests.samples.group_tables import (
    assert_same_trials,
    documents_of,
    job_of,
    random_groups,
    train_alone,
    train_groups,
    trials_of,
    write_groups,
)

OneFile = Callable[[dict[str, Any] | None], dict[str, dict[str, Any]]]
NUM_GROUPS = 34  # and six ways to train them: 200 random groups and more


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("seed", "validation"), [(1, None), (2, {"fraction": 0.25, "seed": 3}), (3, {"folds": 4, "seed": 1})]
)
def test_train_fleet_equals_each_group_trained_alone(
    tmp_path: Path, seed: int, validation: dict[str, Any] | None, normalize: bool
) -> None:
    table = random_groups(NUM_GROUPS, seed=2 * seed + normalize)
    pq.write_table(table, tmp_path / "all.parquet")
    (tmp_path / "alone").mkdir()
    files = write_groups(table, tmp_path / "alone")
    settings: dict[str, Any] = {"validation": validation, "normalize": normalize}
    fleet = documents_of(train_groups(job_of("all.parquet", **settings), tmp_path))
    assert len(fleet) == len(files) == NUM_GROUPS
    num_trained = 0
    for name, file in files.items():
        alone = train_alone(job_of(file, group_by=None, **settings), tmp_path / "alone")
        if isinstance(alone, str):
            assert fleet[name]["status"] == "failed", alone
            continue
        assert_same_trials(fleet[name]["trials"], trials_of(alone))
        assert fleet[name]["best"] in fleet[name]["trials"]
        num_trained += 1
    assert num_trained > 0.9 * NUM_GROUPS


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return random_groups(25, seed=5, rows=(30, 80))


@pytest.fixture(scope="module")
def in_one_file(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> OneFile:
    """A function that returns what a fleet is when all rows are in one file and one task, by its validation."""
    folder = tmp_path_factory.mktemp("reference")
    pq.write_table(table, folder / "t.parquet")
    known: dict[str, Any] = {}

    def trained(validation: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
        if repr(validation) not in known:
            config = job_of("t.parquet", validation=validation)
            known[repr(validation)] = documents_of(train_groups(config, folder, num_cpus=1))
        found: dict[str, dict[str, Any]] = known[repr(validation)]
        return found

    return trained


def write_parts(table: pa.Table, folder: Path, num_files: int, row_group: int, *, seed: int | None, csv: bool) -> str:
    """Write a table to files, its rows shuffled by a seed; return the pattern that names them."""
    if seed is not None:
        table = table.take(np.random.default_rng(seed).permutation(len(table)))
    for number in range(num_files):
        part = table.slice(
            len(table) * number // num_files, len(table) * (number + 1) // num_files - len(table) * number // num_files
        )
        if csv:
            part.to_pandas().to_csv(folder / f"{number}.csv", index=False)
        else:
            pq.write_table(part, folder / f"{number}.parquet", row_group_size=row_group)
    return "*.csv" if csv else "*.parquet"


@pytest.mark.parametrize("validation", [None, {"fraction": 0.2, "seed": 0}, {"folds": 5, "seed": 0}])
@pytest.mark.parametrize(
    ("num_files", "row_group", "seed", "csv", "num_cpus"),
    [(1, 10_000, 1, False, 1), (7, 100, 2, False, 3), (3, 10_000, None, True, 2), (23, 50, 3, False, 8)],
)
def test_train_fleet_is_the_same_however_rows_are_laid_out(
    table: pa.Table,
    in_one_file: OneFile,
    tmp_path: Path,
    validation: dict[str, Any] | None,
    num_files: int,
    row_group: int,
    seed: int | None,
    csv: bool,
    num_cpus: int,
) -> None:
    source = write_parts(table, tmp_path, num_files, row_group, seed=seed, csv=csv)
    found = documents_of(train_groups(job_of(source, validation=validation, memory_mb=64), tmp_path, num_cpus))
    expected = in_one_file(validation)
    assert found.keys() == expected.keys()
    for name, document in expected.items():
        assert found[name]["status"] == document["status"] == "not committed"
        assert_same_trials(found[name]["trials"], document["trials"])


@pytest.mark.parametrize("block_rows", [1, 37, 5000])
def test_train_fleet_is_the_same_in_blocks_of_any_size_and_a_tree_of_any_width(
    table: pa.Table, tmp_path: Path, block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = {"folds": 3, "seed": 2}
    small = table.slice(0, 500)
    pq.write_table(small, tmp_path / "t.parquet", row_group_size=90)
    config = job_of("t.parquet", validation=folds)
    expected = documents_of(train_groups(config, tmp_path))
    monkeypatch.setattr(fleet_scan, "chunk_rows", lambda num_columns, memory_mb: block_rows)
    monkeypatch.setattr(partial, "MERGE_AT_GROUPS", 50)
    monkeypatch.setattr(scanning, "SCAN_BYTES", 1)
    monkeypatch.setattr(scanning, "FAN_IN", 2)
    monkeypatch.setattr(scanning, "PART_BYTES", 5000)
    found = documents_of(train_groups(config, tmp_path))
    assert found.keys() == expected.keys()
    for name, document in expected.items():
        assert found[name]["status"] == document["status"]
        assert_same_trials(found[name]["trials"] or [], document["trials"] or [])


@pytest.mark.parametrize("documented", [10_000, 5])
def test_documents_of_groups_are_in_the_order_of_names_over_all_parts(
    tmp_path: Path, documented: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_outcome, "DOCUMENTED_DATASETS", documented)
    wide = random_groups(5, seed=1, rows=(20, 60))
    wide = wide.set_column(1, "slope", pa.array(wide["slope"].to_numpy() * 1e6))
    sizes = {"site": random_groups(40, rows=(20, 60)), "short site": random_groups(1, rows=(2, 3)), "no site": wide}
    named = [
        rows.set_column(5, "site", pa.array([f"{name}{key[4:]}" for key in rows["site"].to_pylist()]))
        for name, rows in sizes.items()
    ]
    pq.write_table(pa.concat_tables(named), tmp_path / "t.parquet")
    outcome = train_groups(job_of("t.parquet"), tmp_path, num_cpus=8)
    assert (outcome.trials and len(outcome.trials)) == (8 if documented == 10_000 else None)
    documents = list(outcome.documents())
    names = [document["dataset"] for document in documents]
    assert names == sorted(set(pa.concat_tables(named)["site"].to_pylist()))
    assert {document["status"] for document in documents} == {"not committed", "failed", "no convergence"}
    for document in documents:
        known = document["status"] != "failed"
        assert document["trials"] == ([] if not known else None) or (known and len(document["trials"]) == 3)
        assert (document["trials"] is None) == (known and documented == 5)
        assert document["best"] is None or document["best"] in (document["trials"] or [document["best"]])


def test_fingerprints_depend_on_content_alone(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.take(np.arange(len(table))[::-1]), tmp_path / "b.parquet", row_group_size=64)
    changed = table.set_column(1, "slope", pa.array(np.where(np.arange(len(table)) == 7, 9.0, table["slope"])))
    pq.write_table(changed, tmp_path / "c.parquet")
    first, again, other = (fingerprints(job_of(f"{name}.parquet"), tmp_path) for name in "abc")
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {table["site"][7].as_py()}
    assert len(set(first.values())) == len(first)


def fingerprints(config: Any, folder: Path) -> dict[str, str]:
    return {
        name: fingerprint
        for groups in (batch.challengers for batch in train_groups(config, folder).batches)
        for name, fingerprint in zip(groups.name_m.to_pylist(), groups.column("fingerprint").to_pylist(), strict=True)
    }


def test_fleet_of_another_loss_is_not_compared_by_it(tmp_path: Path, table: pa.Table) -> None:
    """A fleet's rows are gone when it is offered: its champion can't be scored by another loss."""
    pq.write_table(table, tmp_path / "sites.parquet")
    ledger = open_ledger(str(tmp_path / "store"))
    reasons = []
    for loss in ("mae", "huber", "huber"):
        config = job_of("sites.parquet", loss=loss)
        config = config.model_copy(update={"select": SelectConfig(metric="train_loss")})
        outcome = train_groups(config, tmp_path)
        _, comparisons = commit_better(ledger, "farms", outcome.batches, loss, "")
        reasons.append({comparison[0].reason for comparison in comparisons})
    assert reasons == [
        {"there was no champion"},
        {NOT_KEPT},
        {"it is the champion already"},
    ]
