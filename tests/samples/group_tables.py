"""Tables of many groups, and a fleet trained from them in this process; beside it, each group as a dataset alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cluster.tasks import RunLimits
from jobs.config import JobConfig
from jobs.errors import DataError
from jobs.groups.outcome import GroupsOutcome
from jobs.groups.parts import Parts
from jobs.groups.run import train_groups_of
from jobs.progress import Progress
from jobs.recipe import make_recipe, policies_of
from jobs.sources.dataset import read_dataset
from jobs.sources.job_datasets import resolve_source
from jobs.training.datasets import TrainedDatasets, train_dataset
from jobs.trials.documents import trial_documents
from jobs.trials.earlier_runs import EarlierRuns
from model_store import open_ledger
from model_store.claims.executions import look_up
from model_store.objects.s3_settings import S3Settings
from tests.servers.inline_cluster import InlineCluster

FEATURES: list[Any] = [
    {"name": "area", "transform": "log10"},
    "slope",
    {"name": "soil", "kind": "categorical", "unseen": "reference"},
    {"name": "age", "missing": "mean"},
]
EXACT = {"rel": 1e-9, "abs": 1e-9}
NUMBERS = ("learning_rate", "train_mse", "val_mse", "r2")
SOILS = ("clay", "loam", "peat", "sand")


def random_groups(num_groups: int, seed: int = 0, rows: tuple[int, int] = (9, 30)) -> pa.Table:
    """Return rows of groups in random order, in the columns that `FEATURES` names, the target `yield`, and `site`."""
    random = np.random.default_rng(seed)
    size_m = random.integers(*rows, num_groups)
    code_n = random.permutation(np.repeat(np.arange(num_groups), size_m))
    n = len(code_n)
    area, slope, age = random.lognormal(1, 1, n), random.normal(0, 1, n), random.normal(3, 0.5, n)
    num_soils = random.integers(2, 5, num_groups)
    soil = np.array(SOILS)[random.integers(0, 1 << 30, n) % num_soils[code_n]]
    weight = random.normal(size=(num_groups, 4))[code_n]
    target = 2 + weight[:, 0] * np.log10(area) + weight[:, 1] * slope + weight[:, 2] * (soil == "peat")
    target += weight[:, 3] * age + random.normal(0, 0.2, n)
    absent = random.random(n) < 0.1
    return pa.table(
        {
            "area": area,
            "slope": slope,
            "soil": soil,
            "age": pa.array(age, mask=absent),
            "yield": target,
            "site": [f"site {code}" for code in code_n],
        }
    )


def job_of(
    source: str,
    features: Sequence[Any] = FEATURES,
    *,
    target: str = "yield",
    group_by: str | Sequence[str] | None = "site",
    validation: Mapping[str, Any] | None = None,
    require: str | None = "finite",
    **training: Any,
) -> JobConfig:
    """Return a job of one fleet, or of one dataset where `group_by` is None."""
    dataset: dict[str, Any] = {"name": "sites", "source": source, "target": target, "features": list(features)}
    if group_by is not None:
        dataset["group_by"] = group_by
    if validation is not None:
        dataset["validation"] = dict(validation)
    return JobConfig.model_validate(
        {
            "name": "farms",
            "datasets": [dataset],
            "grid": {"learning_rate": [0.001, 0.02, 0.05]},
            "training": {"epochs": 25, **training},
            "select": {"require": require},
        }
    )


def train_groups(config: JobConfig, folder: Path, num_cpus: int = 2) -> GroupsOutcome:
    """Return what a cluster of `num_cpus` makes of the job's fleet; its tasks run here, one after the other."""
    (spec,) = config.datasets
    source = resolve_source(spec, folder, S3Settings())
    ledger = open_ledger(str(folder / "store"))
    runs = EarlierRuns(ledger, look_up(ledger.objects, config.name, "job", "run"), read_only=True)
    parts = Parts(source, make_recipe(config), policies_of(config)[spec.name], runs)
    cluster: Any = InlineCluster(num_cpus=num_cpus)
    outcome = train_groups_of(lambda: cluster, parts, RunLimits(), Progress(quiet=True))
    if outcome.error is not None:
        raise outcome.error
    return outcome


def train_alone(config: JobConfig, folder: Path) -> TrainedDatasets | str:
    """Return the job's only dataset trained by itself, or why it can't be."""
    (spec,) = config.datasets
    try:
        recipe = make_recipe(config)
        source = resolve_source(spec, folder, S3Settings())
        dataset = read_dataset(source, bias=config.training.bias, ridge=recipe.ridge)
    except DataError as exc:
        return str(exc)
    return train_dataset(dataset, recipe)


def write_groups(table: pa.Table, folder: Path, column: str = "site") -> dict[str, str]:
    """Write the rows of each group to a file of its own; return the file's name by the group's."""
    frame = table.to_pandas()
    files = {}
    for number, (name, rows) in enumerate(frame.groupby(column)):
        files[str(name)] = f"{number}.parquet"
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), folder / files[str(name)])
    return files


def documents_of(outcome: GroupsOutcome) -> dict[str, dict[str, Any]]:
    """Return what `train --json` says of each dataset, by name."""
    documents = [json.loads(json.dumps(document, allow_nan=False)) for document in outcome.documents()]
    assert len({document["dataset"] for document in documents}) == len(documents)
    return {document["dataset"]: document for document in documents}


def trials_of(trained: TrainedDatasets) -> list[dict[str, Any]]:
    """Return what `train --json` says of the trials of a dataset that was trained alone."""
    return [document for _, document in trial_documents(trained.trials())]


def assert_same_trials(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare trials with those of the same data trained in another way."""
    assert len(found) == len(expected)
    for ours, alone in zip(found, expected, strict=True):
        assert {key: ours[key] for key in ("status", "diverged_at", "epoch")} == {
            key: alone[key] for key in ("status", "diverged_at", "epoch")
        }
        numbers = {key: alone[key] for key in NUMBERS if alone[key] is not None}
        assert {key: ours[key] for key in NUMBERS if ours[key] is not None} == pytest.approx(numbers, **EXACT)
        assert ours["coefficients"] == pytest.approx(alone["coefficients"], **EXACT)
