"""The trials and the datasets of a fleet as Arrow tables: what is kept of a run, at any size.

Shapes: m groups · g grid points · e evaluated epochs · p weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from handler.model_card import ModelCard
from jobs.engines.closed_form.spectrum import spectrum
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments, scaling_of
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult

COEFFICIENT = "coefficient "
CURVES = ("epochs", "train_curve", "val_curve")
STATUSES = ["converged", "not_converged", "diverged"]


def trial_table(
    name_m: pa.Array, card: ModelCard, hyper: Hyperparameters, result: BlockResult, *, detailed: bool
) -> pa.Table:
    """Return a row for each trial, those of a dataset together; numbers that are undefined are null."""
    m, g = result.epoch_mg.shape
    dead_t = (result.diverged_at_mg > 0).reshape(-1).numpy()
    status_mg = torch.where(result.diverged_at_mg > 0, 2, torch.where(result.converged_mg, 0, 1))
    columns: dict[str, pa.Array] = {
        "dataset": pa.DictionaryArray.from_arrays(np.repeat(np.arange(m, dtype=np.int32), g), name_m),
        "learning_rate": pa.array(hyper.learning_rate_mg.reshape(-1).numpy()),
        "momentum": pa.array(np.tile(hyper.momentum_g.numpy(), m)),
        "nesterov": pa.array(np.tile(hyper.nesterov_g.numpy(), m)),
        "weight_decay": pa.array(np.tile(hyper.weight_decay_g.numpy(), m)),
        "engine": pa.DictionaryArray.from_arrays(np.zeros(m * g, dtype=np.int8), pa.array([result.engine])),
        "epoch": pa.array(result.epoch_mg.reshape(-1).numpy(), mask=dead_t),
        "status": pa.DictionaryArray.from_arrays(status_mg.reshape(-1).to(torch.int8).numpy(), pa.array(STATUSES)),
        "diverged_at": pa.array(result.diverged_at_mg.reshape(-1).numpy(), mask=~dead_t),
        "train_mse": _numbers(result.train_mse_mg),
        "val_mse": _numbers(result.val_mse_mg),
        "r2": _numbers(result.r2_mg),
    }
    if detailed:
        for place, name in enumerate([*card.columns, *(["intercept"] if card.bias else [])]):
            columns[f"{COEFFICIENT}{name}"] = _numbers(result.weight_mgp[:, :, place])
        columns["epochs"] = _lists(result.epochs_e.expand(m * g, -1).contiguous())
        columns["train_curve"] = _lists(result.train_curve_mge.reshape(m * g, -1).float())
        columns["val_curve"] = _lists(result.val_curve_mge.reshape(m * g, -1).float())
    return pa.table(columns)


def dataset_table(
    name_m: pa.Array, trained: Moments, fingerprint_m: Sequence[str], settings: TrainingSettings
) -> pa.Table:
    """Return a row for each dataset: its rows that train, its fingerprint and its certificate."""
    moments = scaling_of(trained, settings.bias).apply(trained) if settings.normalize else trained
    basis = spectrum(moments, settings.bias)
    largest_m, smallest_m = basis.largest_m, basis.eigenvalue_mp[:, 0]
    condition_m = torch.where(smallest_m > 0, largest_m / smallest_m.clamp(min=1e-300), torch.inf)
    return pa.table(
        {
            "dataset": name_m,
            "num_rows": pa.array(trained.num_rows_m.to(torch.int64).numpy()),
            "fingerprint": pa.array(fingerprint_m),
            "eigenvalue_min": pa.array(smallest_m.numpy()),
            "eigenvalue_max": pa.array(largest_m.numpy()),
            "condition_number": _numbers(condition_m),
            "stability_limit": pa.array((2 / largest_m).numpy()),
            "best_rate": pa.array((2 / (largest_m + basis.smallest_positive_m)).numpy()),
        }
    )


def _numbers(values: Tensor) -> pa.Array:
    flat = values.reshape(-1).numpy()
    return pa.array(flat, mask=~np.isfinite(flat))


def _lists(values_te: Tensor) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values_te.reshape(-1).numpy()), values_te.shape[1])
