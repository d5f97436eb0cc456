"""Checkpoints: a stack as safetensors, which contains numbers and text, and no code.

The checkpoint has `weight` [m, d] and `bias` [m], float64, and the model card in its metadata; with m = 1 it loads
strictly into an `nn.Linear(d, 1)`. A second blob has the statistics for serving. Equal stacks give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor

from handler.models.stack import REQUIRED, STATISTICS, Stack, Statistics
from handler.rows.model_card import ModelCard
from model_store.errors import CorruptObjectError, NewerFormatError, StoreError
from model_store.ledger.checkpoint_arrays import CARD, Arrays, kind, load_arrays, read_weights, shape_problem

STATISTICS_FORMAT = 1


def write_checkpoint(stack: Stack) -> bytes:
    """Return the checkpoint of a stack. Raises StoreError if its shapes do not fit its card."""
    arrays = _arrays({"weight": stack.weight_md} | ({} if stack.bias_m is None else {"bias": stack.bias_m}))
    if problem := shape_problem(stack.card, arrays):
        raise StoreError(f"the stack of target '{stack.card.target}' can't be stored: {problem}")
    return save(arrays, metadata={CARD: stack.card.to_json()})


def write_statistics(stack: Stack) -> bytes | None:
    """Return the statistics blob of a stack, or None if it has none."""
    if stack.statistics is None:
        return None
    return save(_arrays(stack.statistics.named()), metadata={"format": str(STATISTICS_FORMAT)})


def read_stack(checkpoint: bytes, statistics: bytes | None = None, *, name: str = "checkpoint") -> Stack:
    """Return the stack of a checkpoint and its statistics; errors mention `name`.

    Raises CorruptObjectError for invalid bytes, and NewerFormatError for those of a newer gridline.
    """
    card, arrays = read_weights(checkpoint, name)
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    rows = None if statistics is None else _read_statistics(statistics, card, len(arrays["weight"]), name)
    return Stack(card, tensors["weight"], tensors.get("bias"), rows)


def _read_statistics(data: bytes, card: ModelCard, num_models: int, checkpoint: str) -> Statistics:
    name = f"the statistics of {checkpoint}"
    arrays, metadata = load_arrays(data, name)
    stored_format = metadata.get("format", "")
    if stored_format.isdecimal() and int(stored_format) > STATISTICS_FORMAT:
        raise NewerFormatError(name, stored_format, STATISTICS_FORMAT)
    d = len(card.columns)
    sizes = {"m": num_models, "k": len(card.features), "d": d, "p": d + card.bias}
    for key, field in STATISTICS.items():
        shape = tuple(sizes[letter] for letter in field.rpartition("_")[2])
        if key not in arrays and key in REQUIRED:
            raise CorruptObjectError(name, f"'{key}' is missing")
        if key in arrays and (arrays[key].shape != shape or arrays[key].dtype != np.float64):
            raise CorruptObjectError(name, f"'{key}' is {kind(arrays[key])}, not {shape} float64")
    return Statistics.of_named({key: torch.from_numpy(array) for key, array in arrays.items()})


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {key: np.ascontiguousarray(tensor.detach().to("cpu", torch.float64)) for key, tensor in tensors.items()}
