"""The documents of trials: what the table says of each row, without what is neutral or undefined."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.trials.documents import trial_documents
from jobs.trials.table import trials_parquet


def table() -> pa.Table:
    status = pa.array(["converged", "diverged", "not_converged"]).dictionary_encode()
    return pa.table(
        {
            "dataset": pa.array(["a", "a", "ü/b"]).dictionary_encode(),
            "learning_rate": [0.1, 5.0, 0.2],
            "momentum": [0.0, 0.9, 0.0],
            "nesterov": [False, True, False],
            "weight_decay": [0.0, 0.0, 0.0],
            "huber_delta": [1.0, 1.0, 1.0],
            "quantile": [0.5, 0.5, 0.5],
            "optimizer": pa.array(["sgd"] * 3).dictionary_encode(),
            "loss": pa.array(["mse"] * 3).dictionary_encode(),
            "engine": pa.array(["closed_form"] * 3).dictionary_encode(),
            "epoch": pa.array([7, None, 9], pa.int64()),
            "status": status,
            "diverged_at": pa.array([None, 4, None], pa.int64()),
            "train_mse": [0.5, None, 0.25],
            "val_mse": pa.nulls(3, pa.float64()),
            "r2": [0.9, None, None],
            "gap": [1e-9, None, None],
            "epochs_to_converge": pa.array([5, None, 12], pa.int64()),
            "columns": [["intercept", "x", "z"], ["intercept", "x", "z"], ["intercept", "x"]],
            "coefficients": [[-1.0, 1.0, 2.0], None, [4.0, 3.0]],
            "epochs": [[1, 7]] * 3,
            "train_curve": [[1.0, 0.5]] * 3,
            "val_curve": [[1.0, 0.5]] * 3,
        }
    )


def as_read(trials: pa.Table) -> pa.Table:
    return pq.read_table(io.BytesIO(trials_parquet([trials])))


@pytest.mark.parametrize("rows", [3, 1])
def test_documents_say_what_the_rows_say(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.trials.documents.ROWS_AT_ONCE", rows)
    first, second, third = trial_documents(as_read(table()))
    assert first == (
        "a",
        {
            "learning_rate": 0.1,
            "epoch": 7,
            "status": "converged",
            "diverged_at": None,
            "engine": "closed_form",
            "train_mse": 0.5,
            "val_mse": None,
            "r2": 0.9,
            "gap": 1e-9,
            "epochs_to_converge": 5,
            "coefficients": {"intercept": -1.0, "x": 1.0, "z": 2.0},
        },
    )
    assert list(first[1]["coefficients"]) == ["intercept", "x", "z"]
    name, document = second
    assert (name, document["momentum"], document["nesterov"]) == ("a", 0.9, True)
    assert (document["epoch"], document["diverged_at"], document["coefficients"]) == (None, 4, None)
    assert "weight_decay" not in document
    name, document = third
    assert name == "ü/b"
    assert document["r2"] is None
    assert document["coefficients"] == {"intercept": 4.0, "x": 3.0}


def test_documents_without_kept_coefficients_have_none() -> None:
    plain = table().drop_columns(["columns", "coefficients"])
    assert [document["coefficients"] for _, document in trial_documents(as_read(plain))] == [None] * 3


def test_documents_of_a_loss_show_it_and_its_parameter() -> None:
    def changed(name: str, values: Any) -> pa.Table:
        return trials.set_column(trials.column_names.index(name), name, values)

    trials = table()
    trials = changed("loss", pa.array(["huber"] * 3).dictionary_encode())
    trials = changed("huber_delta", pa.array([0.5, 1.0, 2.0]))
    for name in ("train_loss", "val_loss"):
        trials = trials.append_column(name, pa.array([0.25, None, 0.125]))
    found = [document for _, document in trial_documents(as_read(trials))]
    assert [document["huber_delta"] for document in found] == [0.5, 1.0, 2.0]
    assert [document["train_loss"] for document in found] == [0.25, None, 0.125]
    assert not any("quantile" in document for document in found)
