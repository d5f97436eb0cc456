"""The trials of datasets as an Arrow table: a row for each, in the same columns whichever way they were trained.

Shapes: m datasets · g grid points · t trials · e evaluated epochs · p weights (d, and the bias last where it has one).
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from handler.rows.model_card import ModelCard
from jobs.engines.hyperparameters import HYPERPARAMETERS, Hyperparameters
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult

STATUSES = ["converged", "not_converged", "diverged"]
METRICS = ("train_mse", "val_mse", "r2", "gap")
LOSSES = ("train_loss", "val_loss")  # in the table where the loss is not the mean squared error itself
CURVES = ["epochs", "train_curve", "val_curve"]
REPEATED = ["dataset", "fingerprint", "optimizer", "loss", "engine", "status", *(each.name for each in HYPERPARAMETERS)]


def trial_table(
    name_m: pa.Array,
    fingerprint_m: Sequence[str],
    card: ModelCard,
    settings: TrainingSettings,
    hyper: Hyperparameters,
    result: BlockResult,
    *,
    detailed: bool = True,
    epochs_to_converge_mg: Tensor | None = None,
) -> pa.Table:
    """Return a row for each trial, those of a dataset together; numbers that are undefined are null.

    Coefficients and curves (float32) are there with `detailed`. `epochs_to_converge_mg` is 0 where it is undefined.
    """
    m, g = result.epoch_mg.shape
    place_t = np.repeat(np.arange(m, dtype=np.int32), g)
    diverged_mg = result.diverged_at_mg > 0
    diverged_t = _flat(diverged_mg)
    status_mg = torch.where(diverged_mg, 2, torch.where(result.converged_mg, 0, 1)).to(torch.int8)
    columns: dict[str, pa.Array] = {
        "dataset": pa.DictionaryArray.from_arrays(place_t, name_m),
        "fingerprint": pa.DictionaryArray.from_arrays(place_t, pa.array(fingerprint_m, pa.string())),
        "learning_rate": pa.array(_flat(hyper.learning_rate_mg)),
        **{name: pa.array(np.tile(column.numpy(), m)) for name, column in hyper.others().items()},
        "optimizer": _same(settings.optimizer, m * g),
        "loss": _same(settings.loss, m * g),
        "engine": _same(result.engine, m * g),
        "epoch": pa.array(_flat(result.epoch_mg), mask=diverged_t),
        "status": pa.DictionaryArray.from_arrays(_flat(status_mg), pa.array(STATUSES)),
        "diverged_at": pa.array(_flat(result.diverged_at_mg), mask=~diverged_t),
    }
    for name in METRICS if settings.loss == "mse" else METRICS + LOSSES:
        value_t = _flat(result.metric(name))
        columns[name] = pa.array(value_t, mask=~np.isfinite(value_t))
    needed_t = _flat(torch.zeros_like(result.epoch_mg) if epochs_to_converge_mg is None else epochs_to_converge_mg)
    columns["epochs_to_converge"] = pa.array(needed_t, mask=diverged_t | (needed_t == 0))
    if detailed:
        columns |= coefficient_columns(card, result.weight_mgp.flatten(0, 1), diverged_t)
        columns["epochs"] = _lists(result.epochs_e.expand(m * g, -1))
        columns["train_curve"] = _lists(result.train_curve_mge.flatten(0, 1).float())
        columns["val_curve"] = _lists(result.val_curve_mge.flatten(0, 1).float())
    return pa.table(columns)


def coefficient_columns(card: ModelCard, weight_tp: Tensor, missing_t: np.ndarray | None = None) -> dict[str, pa.Array]:
    """Return the weights of each trial in raw units, and the names of their columns: `intercept` first, with a bias."""
    names = [*(["intercept"] if card.bias else []), *card.columns]
    num_trials, p = weight_tp.shape
    start_t = np.arange(num_trials + 1, dtype=np.int32) * p
    name_t = pa.DictionaryArray.from_arrays(np.tile(np.arange(p, dtype=np.int32), num_trials), pa.array(names))
    ordered_tp = weight_tp.roll(1, 1) if card.bias else weight_tp
    mask = None if missing_t is None else pa.array(missing_t)
    return {
        "columns": pa.ListArray.from_arrays(start_t, name_t),
        "coefficients": pa.ListArray.from_arrays(start_t, _flat(ordered_tp), mask=mask),
    }


def trials_parquet(tables: Sequence[pa.Table]) -> bytes:
    """Return tables of trials as one in parquet; equal trials give equal bytes."""
    repeated = [*REPEATED, "epochs.list.element", "columns.list.element"]
    return table_parquet(tables, repeated)


def table_parquet(tables: Sequence[pa.Table], repeated: Sequence[str] = ()) -> bytes:
    """Return tables as one in parquet; `repeated` names the columns whose values are few."""
    sink = io.BytesIO()
    table = pa.concat_tables(tables, promote_options="default")
    pq.write_table(table, sink, compression="zstd", use_dictionary=list(repeated))
    return sink.getvalue()


def _flat(values: Tensor) -> np.ndarray:
    flat: np.ndarray = values.reshape(-1).numpy()
    return flat


def _same(value: str, number: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(number, dtype=np.int8), pa.array([value]))


def _lists(values_te: Tensor) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(_flat(values_te)), values_te.shape[1])
