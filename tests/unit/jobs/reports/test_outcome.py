"""What a job says of itself: the document, with nothing in it that JSON does not have, and the trials as a table."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.champions.batch import Batch
from jobs.champions.challengers import challengers_of
from jobs.champions.documents import DatasetStatus
from jobs.recipe import Policy
from jobs.reports.outcome import DatasetOutcome, JobOutcome
from jobs.training.datasets import TrainedDatasets
from jobs.trials.table import trials_parquet
from tests.samples.datasets import dataset, trained
from tests.samples.group_tables import trials_of


def outcome(name: str, status: DatasetStatus, of: TrainedDatasets | None = None) -> DatasetOutcome:
    policy = Policy("train_mse", "min")
    found = challengers_of(of, of.trials(), policy, inference_statistics=True) if of else None
    if found is None:
        return DatasetOutcome(name, status, of, reason="it is so")
    return DatasetOutcome(name, status, of, Batch(found, policy))


def job(*datasets: DatasetOutcome) -> JobOutcome:
    return JobOutcome("run", "plants", 3, True, datasets)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["promoted", "kept"], 0),
        (["not committed"], 0),
        (["promoted", "no convergence"], 3),
        (["promoted", "failed"], 5),
        (["failed", "no convergence"], 5),
    ],
)
def test_job_exit_code_is_of_the_worst_dataset(statuses: list[DatasetStatus], code: int) -> None:
    assert job(*(outcome(f"d{number}", status) for number, status in enumerate(statuses))).exit_code == code


def test_job_document_holds_the_best_among_the_trials() -> None:
    document = json.loads(json.dumps(job(outcome("a", "promoted", trained())).to_json(), allow_nan=False))
    assert (document["run_id"], document["collection"], document["version"]) == ("run", "plants", 3)
    (each,) = document["datasets"]
    assert (each["dataset"], each["status"], len(each["trials"])) == ("a", "promoted", 2)
    assert each["best"] == each["trials"][1]


def test_job_document_of_what_failed_says_why() -> None:
    (each,) = job(outcome("a", "failed")).to_json()["datasets"]
    assert each == {"dataset": "a", "status": "failed", "best": None, "trials": [], "reason": "it is so"}


def test_trial_document_predicts_by_its_coefficients() -> None:
    data = dataset()
    document = trials_of(trained(data, rates=[0.1], epochs=100_000))[0]
    weights = document["coefficients"]
    assert list(weights) == ["intercept", "u", "v"]
    residual_n = weights["intercept"] + data.x_nd @ [weights["u"], weights["v"]] - data.y_n
    assert document["train_mse"] == pytest.approx((residual_n**2).mean())
    assert document["r2"] == pytest.approx(1 - (residual_n**2).mean() / data.y_n.var())
    assert (document["status"], document["epoch"], document["diverged_at"]) == ("converged", 100_000, None)
    assert document["val_mse"] is None


def test_trial_document_of_what_diverged_has_nulls() -> None:
    document = trials_of(trained(rates=[50.0]))[0]
    assert document["status"] == "diverged"
    assert document["diverged_at"] > 0
    nulls = ("epoch", "train_mse", "val_mse", "r2", "coefficients")
    assert [document[name] for name in nulls] == [None] * len(nulls)


@pytest.mark.parametrize(
    ("values", "extra"),
    [
        ({}, set()),
        ({"engine": "minibatch", "loss": "huber"}, {"huber_delta", "train_loss", "val_loss"}),
        ({"engine": "minibatch", "loss": "quantile"}, {"quantile", "train_loss", "val_loss"}),
        ({"engine": "minibatch", "loss": "mae"}, {"train_loss", "val_loss"}),
    ],
)
def test_trial_document_lists_the_hyperparameters_of_its_loss(values: dict[str, Any], extra: set[str]) -> None:
    document = trials_of(trained(epochs=5, **values))[0]
    usual = {"learning_rate", "epoch", "status", "diverged_at", "engine", "train_mse", "val_mse", "r2", "gap"}
    usual |= {"epochs_to_converge", "coefficients"}
    assert document.keys() == usual | extra


def test_trials_table_has_a_row_a_trial_with_its_curves() -> None:
    both = [trained(dataset("a")), trained(dataset("b", folds=[0, -1]))]
    rows = pq.read_table(io.BytesIO(trials_parquet([each.trials() for each in both]))).to_pylist()
    assert [(row["dataset"], row["learning_rate"]) for row in rows] == [
        ("a", 0.01),
        ("a", 0.1),
        ("b", 0.01),
        ("b", 0.1),
    ]
    last = rows[-1]
    assert len(last["epochs"]) == len(last["train_curve"]) == len(last["val_curve"])
    assert last["train_curve"][last["epochs"].index(last["epoch"])] == pytest.approx(last["train_mse"])
    assert dict(zip(last["columns"], last["coefficients"], strict=True)) == trials_of(both[1])[1]["coefficients"]


def test_trials_table_of_equal_trials_is_equal_in_bytes() -> None:
    assert trials_parquet([trained().trials()]) == trials_parquet([trained().trials()])
