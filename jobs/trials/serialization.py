"""Trials as bytes: safetensors with JSON metadata. Equal trials give equal bytes, in any order.

They contain no time, run or machine. Datasets of the same shape are stored together, so a block of thousands is a few
tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from jobs.trials.columns import MOMENTS, KeyedTrials, columns_of, from_columns, join
from model_store.ledger.checkpoint_arrays import metadata_of

FORMAT = 1
META = "gridline"
NOTHING_HELD_OUT = ("val_curve_mge", "val_loss_mg", "val_mse_mg")  # all NaN, and not stored


class NotTrialsError(ValueError):
    """Bytes that `write_trials` did not write, or of a newer format."""


def write_trials(trials: Iterable[KeyedTrials]) -> bytes:
    """Return the trials as bytes."""
    alike: dict[str, list[KeyedTrials]] = {}
    for each in trials:
        alike.setdefault(_shape(each), []).append(each)
    tensors: dict[str, Tensor] = {}
    engines = []
    for number, shape in enumerate(sorted(alike)):
        joined = join("m", alike[shape])
        keys = joined.keys
        joined = joined.take("m", torch.tensor(sorted(range(len(keys)), key=keys.__getitem__)))
        tensors |= {f"{number}/{name}": tensor for name, tensor in _stored(joined).items()}
        engines.append(joined.result.engine)
    # Only one entry: safetensors does not keep the order of several.
    return save(tensors, metadata={META: json.dumps({"format": FORMAT, "engines": engines})})


def read_trials(data: bytes) -> tuple[KeyedTrials, ...]:
    """Return the trials, one element for each shape. Raises NotTrialsError."""
    try:
        tensors = load(data)
        meta = json.loads(metadata_of(data)[META])
        if meta["format"] > FORMAT:
            raise NotTrialsError(f"format {meta['format']}, and this gridline reads up to {FORMAT}")
        columns: list[dict[str, Tensor]] = [{} for _ in meta["engines"]]
        for path, tensor in tensors.items():
            number, _, name = path.partition("/")
            columns[int(number)][name] = tensor
        return tuple(
            from_columns(engine, _restored(each)) for engine, each in zip(meta["engines"], columns, strict=True)
        )
    except (SafetensorError, KeyError, TypeError, IndexError, ValueError) as exc:
        raise NotTrialsError(f"{type(exc).__name__}: {' '.join(str(exc).split())}") from exc


def _shape(trials: KeyedTrials) -> str:
    """Return, as a sortable text, the properties that datasets must share to be stored together."""
    columns = _stored(trials)
    shared = {name: tensor.tolist() for name, tensor in columns.items() if "m" not in name.rpartition("_")[2]}
    shapes = {name: (str(tensor.dtype), *tensor.shape[1:]) for name, tensor in columns.items() if name not in shared}
    return json.dumps([trials.result.engine, shared, shapes], sort_keys=True)


def _stored(trials: KeyedTrials) -> dict[str, Tensor]:
    columns = columns_of(trials)
    derived: list[str] = []
    moments = [name for name in MOMENTS if f"trained.{name}" in columns]
    if all(torch.equal(columns[f"trained.{name}"], columns[f"scored.{name}"]) for name in moments):
        derived += [f"scored.{name}" for name in moments]
    held_out = [f"result.{name}" for name in NOTHING_HELD_OUT]
    if all(bool(columns[name].isnan().all()) for name in held_out):
        derived += held_out
    return {name: v.detach().cpu().clone().contiguous() for name, v in columns.items() if name not in derived}


def _restored(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    filled = {f"scored.{name}": columns[f"trained.{name}"] for name in MOMENTS if f"trained.{name}" in columns}
    for name in NOTHING_HELD_OUT:
        filled[f"result.{name}"] = torch.full_like(columns[f"result.{name.replace('val_', 'train_')}"], torch.nan)
    return filled | columns
