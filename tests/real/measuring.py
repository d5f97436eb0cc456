"""Train all real tables in one job, by three lines of configuration each, and compare with least squares."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gridline import open_ledger, train
from jobs.cli import main
from jobs.errors import DONE, PARTIAL_FAILURE, DataError
from tests.real.least_squares import least_squares
from tests.real.remedies import Attempt, followed
from tests.real.tables import INDEX, Table

COLLECTION = "real"
REMEDIES_AT_MOST = 5
CLOSE, FAR = 1e-6, 1e-3  # standard deviations of the target

Json = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What came of a table. `status` is that of its best trial, `refused`, or `penalised`: with a decay of the weights.

    `distance` is the largest difference between a prediction and least squares, in deviations of the target; None where
    there is no champion. `reasons` are the refusals, one after the other: a remedy was followed after each.
    """

    table: str
    status: str
    distance: float | None = None
    reasons: tuple[str, ...] = ()

    def is_within(self, distance: float) -> bool:
        """Return whether each prediction is at most so far from least squares."""
        return self.distance is not None and self.distance <= distance


def measure(tables: Sequence[Table], folder: Path, address: str | None = None) -> list[Result]:
    """Return the results of all tables, in their order; a refused one trains again as the refusal says, alone."""
    attempts = [Attempt(table, _dataset(table, folder)) for table in tables]
    documents = _train(COLLECTION, attempts, folder, address)
    results = []
    for first in attempts:
        attempt, document, reasons, collection = first, documents[first.table.name], (), COLLECTION
        while document["status"] == "failed" and len(reasons) < REMEDIES_AT_MOST:
            reasons = (*reasons, str(document["reason"]).replace(f"{folder}/", ""))
            if (changed := followed(reasons[-1], attempt)) is None:
                break
            attempt, collection = changed, f"{COLLECTION}-{first.table.name}"
            attempt.table.write(folder)
            document = _train_alone(collection, attempt, folder, address)
        results.append(_result(attempt, document, folder, collection, reasons))
    return results


def _dataset(table: Table, folder: Path) -> Json:
    table.write(folder)
    features = ["all", f"!{INDEX}"] if INDEX in table.frame else "all"
    return {"name": table.name, "source": table.file, "target": table.target, "features": features}


def _train(collection: str, attempts: Sequence[Attempt], folder: Path, address: str | None) -> dict[str, Json]:
    """Return the document of each dataset of one job."""
    grid = {"learning_rate": "auto"} | attempts[0].grid
    config = {"name": collection, "datasets": [attempt.dataset for attempt in attempts], "grid": grid}
    outcome = train(config, store=str(folder / "store"), base=folder, address=address)
    return {document["dataset"]: dict(document) for document in outcome.documents()}


def _train_alone(collection: str, attempt: Attempt, folder: Path, address: str | None) -> Json:
    """Return the document of a dataset; a job in which nothing can be trained raises its error."""
    name = attempt.table.name
    try:
        return _train(collection, [attempt], folder, address)[name]
    except DataError as exc:
        return {
            "dataset": name,
            "status": "failed",
            "best": None,
            "reason": str(exc).removeprefix(f"dataset {name!r}: "),
        }


def _result(attempt: Attempt, document: Json, folder: Path, collection: str, reasons: tuple[str, ...]) -> Result:
    table = attempt.table
    if document["status"] == "failed":
        return Result(table.name, "refused", reasons=reasons)
    best = document["best"]
    status = str(document["status"] if best is None else best["status"])
    if document["status"] != "promoted":
        return Result(table.name, status, reasons=reasons)
    if not attempt.is_least_squares:
        return Result(table.name, "penalised", reasons=reasons)
    return Result(table.name, status, _distance(table, folder, collection), reasons)


def _distance(table: Table, folder: Path, collection: str) -> float:
    """Return the largest difference between predictions of the table's own file and least squares."""
    uri = str(folder / "store")
    prediction_n = _predictions(collection, table.name, uri, folder / table.file, folder / "predictions.parquet")
    prediction_t = prediction_n[table.frame[table.target].notna().to_numpy()]
    card = open_ledger(uri).champion(collection, table.name).card
    y_t, fitted_t = least_squares(table, card.feature_names)
    return float(np.abs(prediction_t - fitted_t).max() / y_t.std())


def _predictions(collection: str, name: str, store: str, rows: Path, output: Path) -> np.ndarray:
    """Return what `gridline predict` writes for a file, NaN for a row that it can't answer."""
    files = ("--input", str(rows), "--output", str(output), "--column-prefix", "gridline_")
    with pytest.raises(SystemExit) as ended, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        main(["predict", collection, "--dataset", name, "--store", store, *files])
    assert ended.value.code in (DONE, PARTIAL_FAILURE), rows
    return pq.read_table(output)["gridline_prediction"].to_numpy()
