"""The documents of a fleet's trials: what Arrow says of each row, without what is neutral or undefined."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.groups.trial_documents import trial_documents


def table() -> pa.Table:
    status = pa.array(["converged", "diverged", "not_converged"]).dictionary_encode()
    return pa.table(
        {
            "dataset": pa.array(["a", "a", "ü/b"]).dictionary_encode(),
            "learning_rate": [0.1, 5.0, 0.2],
            "momentum": [0.0, 0.9, 0.0],
            "nesterov": [False, True, False],
            "weight_decay": [0.0, 0.0, 0.0],
            "engine": pa.array(["closed_form"] * 3).dictionary_encode(),
            "epoch": pa.array([7, None, 9], pa.int64()),
            "status": status,
            "diverged_at": pa.array([None, 4, None], pa.int64()),
            "train_mse": [0.5, None, 0.25],
            "val_mse": pa.nulls(3, pa.float64()),
            "r2": [0.9, None, None],
            "coefficient x": [1.0, None, 3.0],
            "coefficient z": [2.0, None, None],
            "coefficient intercept": [-1.0, None, 4.0],
            "epochs": [[1, 7]] * 3,
            "train_curve": [[1.0, 0.5]] * 3,
            "val_curve": [[1.0, 0.5]] * 3,
        }
    )


def as_parquet(trials: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(trials, sink)
    return sink.getvalue()


def test_documents_say_what_the_rows_say() -> None:
    first, second, third = trial_documents(as_parquet(table()))
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
    plain = table().drop_columns(["coefficient x", "coefficient z", "coefficient intercept"])
    assert [document["coefficients"] for _, document in trial_documents(as_parquet(plain))] == [None] * 3
