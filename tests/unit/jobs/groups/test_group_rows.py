"""Fleets by minibatches: a group's model is that of its rows alone, however they are laid out, read and dealt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.engines.threads import num_threads
from jobs.errors import DataError
from jobs.groups import scanning
from jobs.recipe import make_recipe
from jobs.sources.job_datasets import read_datasets
from jobs.training.datasets import train_dataset
from tests.samples.group_tables import documents_of, job_of, random_groups, train_groups, trials_of, write_groups

MINIBATCH: dict[str, Any] = {"batch_size": 8, "momentum": 0.5, "epochs": 6, "normalize": True}
# Not normalized: over a full batch, of residuals that are all large, huber's gradient along a centred column is 0, and
# adam goes a full step by the sign of its rounding.
ADAM: dict[str, Any] = {"batch_size": 16, "optimizer": "adam", "loss": "huber", "epochs": 6}
RMSPROP: dict[str, Any] = {"batch_size": 8, "optimizer": "rmsprop", "momentum": 0.5, "epochs": 6, "normalize": True}
CLOSE = {"rel": 1e-5, "abs": 1e-5}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a task; and for products this small a second thread is only waited for."""
    with num_threads(1):
        yield


@pytest.mark.parametrize(
    ("training", "validation"),
    [(MINIBATCH, {"fraction": 0.25, "seed": 3}), (ADAM, {"folds": 3, "seed": 1}), (ADAM, None), (RMSPROP, None)],
)
def test_train_fleet_by_minibatches_equals_each_group_trained_alone(
    tmp_path: Path, training: dict[str, Any], validation: dict[str, Any] | None
) -> None:
    table = random_groups(14, seed=3)
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=60)
    (tmp_path / "alone").mkdir()
    files = write_groups(table, tmp_path / "alone")
    found = documents_of(train_groups(job_of("all.parquet", validation=validation, **training), tmp_path))
    assert set(found) == set(files)
    for name, file in files.items():
        config = job_of(file, group_by=None, validation=validation, **training)
        try:
            (dataset,) = read_datasets(config, tmp_path / "alone")
        except DataError:
            assert found[name]["status"] == "failed"
            continue
        expected = trials_of(train_dataset(dataset, make_recipe(config)))
        for ours, alone in zip(found[name]["trials"], expected, strict=True):
            assert (ours["engine"], ours["epoch"], ours["status"]) == ("minibatch", alone["epoch"], alone["status"])
            assert ours["coefficients"] == pytest.approx(alone["coefficients"], **CLOSE)
            assert [ours["train_mse"], ours["r2"]] == pytest.approx([alone["train_mse"], alone["r2"]], **CLOSE)


@pytest.mark.parametrize("validation", [{"fraction": 0.25, "seed": 3}, {"folds": 3, "seed": 1}])
def test_train_fleet_by_minibatches_does_not_depend_on_files_and_parts(
    tmp_path: Path, validation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = random_groups(12, seed=8)
    pq.write_table(table, tmp_path / "all.parquet")
    (tmp_path / "cut").mkdir()
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    for number, at in enumerate(range(0, len(table), 61)):
        pq.write_table(shuffled.slice(at, 61), tmp_path / "cut" / f"{9 - number}.parquet", row_group_size=20)
    settings: dict[str, Any] = {"validation": validation, **MINIBATCH}
    whole = documents_of(train_groups(job_of("all.parquet", **settings), tmp_path, num_cpus=1))
    monkeypatch.setattr(scanning, "FAN_IN", 2)
    parts = documents_of(train_groups(job_of("cut/*.parquet", **settings), tmp_path, num_cpus=5))
    assert set(parts) == set(whole)
    for name, document in whole.items():
        assert parts[name]["status"] == document["status"]
        for ours, theirs in zip(parts[name]["trials"], document["trials"], strict=True):
            assert ours["coefficients"] == pytest.approx(theirs["coefficients"], **CLOSE)


def test_train_fleet_by_minibatches_lets_bad_groups_fail_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [("good", value) for value in rng.normal(size=20)] + [("one row", 1.0), ("constant", 2.0), ("constant", 2.0)]
    rows += [("gap", 1.0), ("gap", None), ("gap", 3.0)]
    table = pa.table(
        {"site": [name for name, _ in rows], "area": [value for _, value in rows], "yield": rng.normal(size=len(rows))}
    )
    pq.write_table(table, tmp_path / "all.parquet")
    closed = documents_of(train_groups(job_of("all.parquet", ["area"]), tmp_path))
    batches = documents_of(train_groups(job_of("all.parquet", ["area"], **MINIBATCH), tmp_path))
    assert {name: each["status"] for name, each in batches.items()} == {
        "good": "not committed",
        **dict.fromkeys(("one row", "constant", "gap"), "failed"),
    }
    assert [each.get("reason") for each in batches.values()] == [each.get("reason") for each in closed.values()]
