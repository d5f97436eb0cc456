"""The columns of the champion table as plain Python, so that a row can be checked and used without pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model_store.objects.blobs import BlobRef

CHECKPOINT_EXT = "safetensors"
LARGEST = 2**63  # integers of the table have 64 bits


@dataclass(frozen=True)
class Column:
    """A column of the champion table; a required one is never null."""

    name: str
    kind: type[str] | type[int] | type[float]
    required: bool = False


COLUMNS = (
    Column("dataset", str, required=True),
    Column("checkpoint", str, required=True),  # sha256 of the blob
    Column("checkpoint_size", int, required=True),  # bytes
    Column("statistics", str),
    Column("statistics_size", int),
    Column("row", int, required=True),  # in both blobs, from 0
    Column("run_id", str),
    Column("trained_at", str),  # ISO 8601, UTC
    Column("engine", str),
    Column("status", str),
    Column("epoch", int),
    Column("hyperparameters", str),  # JSON
    Column("metric", str),
    Column("mode", str),
    Column("score", float),
    Column("train_mse", float),
    Column("val_mse", float),
    Column("r2", float),
    Column("num_rows", int),
    Column("fingerprint", str),  # sha256 of the data
    Column("loss", str),  # the minimised loss: `mse`, `mae`, `huber(1.0)`, `quantile(0.9)`; null in older rows
    Column("comparison", str),  # JSON: the comparison with the former champion at its promotion
    Column("choice", str),  # a sentence: why this trial of its grid; null in older rows
    Column("recipe", str),  # sha256 of the engine and its settings, without the grid; null in older rows
)


def row_problem(row: Mapping[str, Any]) -> str | None:
    """Return the error of a row that is given as a mapping, or None."""
    for column in COLUMNS:
        value = row.get(column.name)
        if value is None:
            if column.required:
                return f"'{column.name}' is missing"
        elif isinstance(value, bool) or not isinstance(value, (int, float) if column.kind is float else column.kind):
            return f"'{column.name}' is {value!r}, not {column.kind.__name__}"
        elif isinstance(value, int) and not -LARGEST <= value < LARGEST:
            return f"'{column.name}' is {value!r}, which has more than 64 bits"
    if row.get("statistics") and row.get("statistics_size") is None:
        return "'statistics_size' is missing"
    return None


def row_blobs(row: Mapping[str, Any]) -> Iterator[BlobRef]:
    """Yield the blobs of a row: its checkpoint, then its statistics if it has them."""
    yield BlobRef(row["checkpoint"], row["checkpoint_size"], CHECKPOINT_EXT)
    if row.get("statistics"):
        yield BlobRef(row["statistics"], row["statistics_size"], CHECKPOINT_EXT)
