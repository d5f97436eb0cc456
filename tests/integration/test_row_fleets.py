"""Fleets by minibatches, and a dataset that is streamed, on a Ray cluster: rows go to parts, and sources to tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.samples.group_tables import random_groups
from tests.servers.ray_cluster import RayHead

NUM_ROWS = 1_200_000  # of two float64 columns: more than a quarter of 64 MiB


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_train_groups_and_a_streamed_dataset_by_minibatches_on_ray(ray_head: RayHead, tmp_path: Path) -> None:
    table = random_groups(40, seed=0)
    for number in range(3):
        pq.write_table(table.slice(number * 300, 300), tmp_path / f"sites-{number}.parquet", row_group_size=100)
    area = np.random.default_rng(0).normal(size=NUM_ROWS)
    pq.write_table(pa.table({"area": area, "yield": 1 + 2 * area}), tmp_path / "long.parquet", row_group_size=200_000)
    validation = {"fraction": 0.25, "seed": 0}
    sites = {"name": "sites", "source": "sites-*.parquet", "group_by": "site", "features": ["slope"]}
    long = {"name": "long", "source": "long.parquet", "features": ["area"]}
    config = {
        "name": "farms",
        "datasets": [{**each, "target": "yield", "validation": validation} for each in (sites, long)],
        "grid": {"learning_rate": [0.01, 0.05]},
        "training": {"epochs": 2, "batch_size": 256, "memory_mb": 64},
        "select": {"require": "finite"},  # after two epochs some groups are worse than their mean
        "store": {"uri": str(tmp_path / "store")},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(config))
    ran = ray_head.python("-m", "jobs", "train", str(tmp_path / "job.yaml"), "--address", ray_head.address, "--json")
    assert ran.returncode == 0, ran.stderr
    datasets: dict[str, Any] = {each["dataset"]: each for each in json.loads(ran.stdout)["datasets"]}
    assert set(datasets) == {*set(table["site"].slice(0, 900).to_pylist()), "long"}
    assert {each["best"]["engine"] for each in datasets.values()} == {"minibatch"}
    assert datasets["long"]["best"]["coefficients"] == pytest.approx({"intercept": 1, "area": 2}, abs=1e-3)
