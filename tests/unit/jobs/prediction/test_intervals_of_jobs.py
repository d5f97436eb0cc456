"""Intervals of trained datasets with dependent columns are those of statsmodels, whatever trains them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from handler.answers.answering import answer
from handler.requests.payload import Request
from jobs.config import JobConfig
from jobs.progress import Progress
from jobs.run import run_job
from model_store import open_ledger
from model_store.archives.version_fleet import fleet_of_version
from tests.samples.dependent import oracle
from tests.servers.inline_cluster import InlineCluster

FEATURES = ["celsius", "fahrenheit", "day", "hour", "floor", "kind", "price"]
LOOP = {"engine": "minibatch", "batch_size": 32, "epochs": 40}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {  # keys of the dataset and of training, tolerance
    "closed form": ({}, {}, 1e-6),
    "without a bias": ({}, {"bias": False}, 0.01),
    "groups": ({"group_by": ["key"]}, {}, 1e-6),
    "groups by batches": ({"group_by": ["key"]}, LOOP, 0.02),
    "batches": ({}, LOOP, 0.02),
    "weights": ({"weights": "weight"}, {}, 1e-6),
    "a logarithm": ({"target_transform": "log"}, {}, 1e-6),
}


def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    n = 300
    celsius_n, day_n = np.round(random.normal(15, 5, n), 3), 19_000 + np.arange(n) // 4
    columns: dict[str, Any] = {
        "celsius": celsius_n,
        "fahrenheit": 1.8 * celsius_n + 32,
        "day": day_n,
        "hour": 24 * day_n,
        "floor": np.full(n, 3.0),
        "kind": random.choice(["u", "v", "w"], n),
        "price": random.normal(100, 30, n),
        "key": random.choice(["p", "q"], n),
        "weight": random.uniform(0.5, 2, n),
    }
    found = pd.DataFrame(columns)
    found["y"] = 40 + celsius_n - 0.1 * found.price + (found.kind == "u") + random.normal(size=n)
    return found


def half_widths(rows: pd.DataFrame, target_n: Any, bias: bool, weight_n: Any) -> np.ndarray[Any, Any]:
    """Return half the widths of both intervals of each row, (n, 2)."""
    levels = ["u", "v", "w"][bias:]
    numbers = rows[[name for name in FEATURES if name != "kind"]].to_numpy(float)
    x_nd = np.column_stack([numbers, *((rows.kind == level).to_numpy(float) for level in levels)])
    expected = oracle(x_nd, target_n, bias, weight_n)
    return np.column_stack(
        [np.diff(bounds_n2)[:, 0] / 2 for bounds_n2 in (expected.confidence_n2, expected.prediction_n2)]
    )


def config(dataset: Mapping[str, Any], training: Mapping[str, Any]) -> JobConfig:
    features = [{"name": "kind", "kind": "categorical"} if name == "kind" else name for name in FEATURES]
    of = {"name": "d", "source": "d.csv", "target": "y", "features": features, **dataset}
    rate: Any = [0.05] if "engine" in training else "auto"
    settings = {"epochs": 200_000, "normalize": True, **training}
    return JobConfig.model_validate(
        {"name": "t", "datasets": [of], "grid": {"learning_rate": rate}, "training": settings}
    )


@pytest.mark.parametrize("case", CASES)
def test_intervals_of_trained_datasets_are_those_of_statsmodels(
    case: str, tmp_path: Path, inline_cluster: InlineCluster
) -> None:
    dataset, training, tolerance = CASES[case]
    rows = table()
    rows.to_csv(tmp_path / "d.csv", index=False)
    ledger = open_ledger(str(tmp_path / "store"))
    run_job(config(dataset, training), tmp_path, ledger, progress=Progress(quiet=True))
    fleet = fleet_of_version(ledger.version("t"))
    assert fleet.num_datasets == (2 if "group_by" in dataset else 1)
    for position in range(fleet.num_datasets):
        name = fleet.index.names[position]
        mine = rows[rows.key == name] if "group_by" in dataset else rows
        body = {"dataset": name, "instances": mine[FEATURES].to_dict("records"), "interval": 0.9}
        [answered] = answer(fleet, [Request(json.dumps(body).encode())])
        found = json.loads(answered.body)["intervals"]
        assert "reasons" not in found
        bounds = np.array([found["confidence"], found["prediction"]])
        scale: Any = np.log if "target_transform" in dataset else np.asarray
        weight_n = mine.weight.to_numpy() if "weights" in dataset else np.ones(len(mine))
        expected_n2 = half_widths(mine, scale(mine.y.to_numpy()), training.get("bias", True), weight_n)
        np.testing.assert_allclose(np.diff(scale(bounds))[:, :, 0].T / 2, expected_n2, rtol=tolerance)
