"""Predictions of exports in each format, and what `gridline predict` says of the same rows; NaN where one refuses."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from handler.models.stack import Stack
from handler.rows.datetimes import days_of
from jobs.errors import UsageError
from jobs.prediction.models import StoredModels
from model_store import open_ledger
from model_store.ledger.versions import Version
from tests.samples.cards import Row
from tests.samples.fleets import commit_models

Predict = Callable[[str, list[Row]], list[float]]

RELATIVE = 1e-12


def expected(version: Version, dataset: str, rows: list[Row]) -> list[float]:
    """Return what `gridline predict` says of each row; NaN for one that it refuses."""
    models = StoredModels(version)

    def one(row: Row) -> float:
        try:
            return float(models.ask({"dataset": dataset, "instances": [row]})["predictions"][0])
        except UsageError:
            return math.nan

    return [one(row) for row in rows]


def committed(folder: Path, models: Mapping[str, Stack]) -> Version:
    return commit_models(open_ledger(str(folder / "store")), "t", models)


def by_numpy(folder: Path) -> Predict:
    """Return the predictions of the program that the folder has, as a program that has no gridline would import it."""
    spec = importlib.util.spec_from_file_location("exported_predict", folder / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def one(dataset: str, row: Row) -> float:
        try:
            return float(module.predict(dataset, row))
        except ValueError:
            return math.nan

    return lambda dataset, rows: [one(dataset, row) for row in rows]


def by_onnx(folder: Path, *, names_dataset: bool = True) -> Predict:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    inputs = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])

    def predict(dataset: str, rows: list[Row]) -> list[float]:
        columns = {
            name: column(said["kind"], [row.get(said["feature"]) for row in rows]) for name, said in inputs.items()
        }
        named = {"dataset": np.array([dataset] * len(rows), object)} if names_dataset else {}
        [found] = session.run(["prediction"], columns | named)
        assert found.dtype == np.float64
        return list(found.tolist())

    return predict


def column(kind: str, values: list[Any]) -> np.ndarray:
    """Return a column as an exported program takes it: texts, '' where one is missing, or numbers, or days."""
    if kind == "categorical":
        return np.array(["" if value is None else value for value in values], object)
    number = days_of if kind == "datetime" else float
    return np.array([math.nan if value is None else number(value) for value in values])


def assert_same(found: list[float], wanted: list[float], rows: list[Row]) -> None:
    assert not np.isnan(wanted).all()
    for one, other, row in zip(found, wanted, rows, strict=True):
        assert one == pytest.approx(other, rel=RELATIVE, abs=0, nan_ok=True), row


def by_torch(folder: Path) -> Predict:
    index = json.loads((folder / "index.json").read_text("utf-8"))
    programs = {file.name: torch.export.load(file).module() for file in folder.glob("*.pt2")}

    def predict(dataset: str, rows: list[Row]) -> list[float]:
        entry = index[dataset]
        said = json.loads((folder / entry["file"].replace(".pt2", ".card.json")).read_text("utf-8"))
        kinds, inputs = {one["name"]: one["kind"] for one in said["features"]}, said["inputs"]
        numbers = [torch.tensor(column(kinds[name], [row.get(name) for row in rows])) for name in inputs["numbers"]]
        codes = [
            torch.tensor([code(levels, row.get(name)) for row in rows]) for name, levels in inputs["codes"].items()
        ]
        n = len(rows)
        found = programs[entry["file"]](
            torch.stack(numbers, 1) if numbers else torch.zeros(n, 0, dtype=torch.float64),
            torch.stack(codes, 1) if codes else torch.zeros(n, 0, dtype=torch.int64),
            torch.full((n,), entry["row"]),
        )
        return list(found.tolist())

    return predict


def code(levels: list[str], value: str | None) -> int:
    if value is None:
        return -2
    return levels.index(value) if value in levels else -1
