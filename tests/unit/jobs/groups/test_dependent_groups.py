"""Dependent columns, constant ones, and more columns than rows: trained and said, in groups as in datasets alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.training.datasets import TrainedDatasets
from tests.samples.group_tables import (
    assert_same_trials,
    documents_of,
    job_of,
    train_alone,
    train_groups,
    trials_of,
    write_groups,
)

FEATURES: list[Any] = ["a", "b", {"name": "color", "kind": "categorical"}, {"name": "shade", "kind": "categorical"}]
SAID = {
    "plain": [],
    "equal": ["column 'b' is 'a' in every row that trains: only weight decay makes their weights unique"],
    "constant": ["column 'b' is 1.5 in every row that trains: only weight decay makes its weight unique"],
    "shade of color": [
        "column 'shade=dark red' is 'color=red' in every row that trains: only weight decay makes their weights unique"
    ],
    "one color": ["column 'color' is 'red' in every row that trains: it has no weight"],
}


def table(rows_each: int = 12) -> pa.Table:
    """Return a group for each of `SAID`."""
    random = np.random.default_rng(0)
    key = np.repeat(list(SAID), rows_each)
    a, b, noise = random.normal(size=(3, len(key)))
    color = np.where(random.random(len(key)) < 0.5, "red", "blue")
    shade = np.where(random.random(len(key)) < 0.5, "dark red", "dark blue")
    b = np.select([key == "equal", key == "constant"], [a, 1.5], b)
    color = np.where(key == "one color", "red", color)
    shade = np.where(key == "shade of color", np.char.add("dark ", color), shade)
    target = a - 2 * b + (color == "red") + 0.3 * (shade == "dark red") + 0.1 * noise
    return pa.table({"a": a, "b": b, "color": color, "shade": shade, "y": target, "key": key})


@pytest.mark.parametrize("validation", [None, {"folds": 3, "seed": 1}, {"fraction": 0.3, "seed": 2}])
@pytest.mark.parametrize("training", [{"epochs": 400}, {"engine": "minibatch", "epochs": 40, "dtype": "float64"}])
def test_groups_with_dependent_columns_train_as_alone(
    tmp_path: Path, training: dict[str, Any], validation: dict[str, Any] | None
) -> None:
    pq.write_table(table(), tmp_path / "t.parquet", row_group_size=7)
    rule: dict[str, Any] = {"target": "y", "validation": validation, **training}
    found = documents_of(train_groups(job_of("t.parquet", FEATURES, group_by="key", **rule), tmp_path))
    for name, file in write_groups(table(), tmp_path, "key").items():
        alone = train_alone(job_of(file, FEATURES, group_by=None, **rule), tmp_path)
        assert isinstance(alone, TrainedDatasets), alone
        assert alone.certificate is not None
        assert_same_trials(found[name]["trials"], trials_of(alone))
        assert found[name].get("notes", []) == [*alone.certificate.notes]
        if validation is None or "folds" in validation:
            assert [*alone.certificate.notes] == SAID[name]


@pytest.mark.parametrize(("decay", "status"), [(0.1, "not committed"), (0.0, "failed")])
def test_group_of_more_columns_than_rows_needs_weight_decay(tmp_path: Path, decay: float, status: str) -> None:
    pq.write_table(table(rows_each=4), tmp_path / "t.parquet")
    rule: dict[str, Any] = {"target": "y", "weight_decay": decay}
    job = job_of("t.parquet", FEATURES, group_by="key", **rule)
    found = documents_of(train_groups(job, tmp_path))
    few = {name: document["status"] for name, document in found.items() if document["status"] != "not committed"}
    assert few.get("plain", "not committed") == status
    file = write_groups(table(rows_each=4), tmp_path, "key")["plain"]
    alone = train_alone(job_of(file, FEATURES, group_by=None, **rule), tmp_path)
    if isinstance(alone, TrainedDatasets):
        assert_same_trials(found["plain"]["trials"], trials_of(alone))
    else:
        assert alone == f"dataset 'sites': {found['plain']['reason']}"
        assert alone.endswith(
            "4 rows train, and there are 5 weights: add rows, name fewer features, or set 'grid.weight_decay' above 0"
        )


def test_rows_fewer_than_weights_that_depend_on_each_other_train(tmp_path: Path) -> None:
    rows = table().slice(0, 3).to_pandas()
    rows = rows.iloc[[0, 1, 2, 2]].assign(y=[1.0, 2.0, 3.0, 3.5])
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), tmp_path / "t.parquet")
    assert isinstance(train_alone(job_of("t.parquet", FEATURES, group_by=None, target="y"), tmp_path), TrainedDatasets)
