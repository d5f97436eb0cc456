"""Check the arrays and the metadata of a checkpoint, in NumPy, whose import is faster than that of torch.

Shapes: m models · d encoded columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from handler.errors import ModelCardError
from handler.rows.model_card import ModelCard
from model_store.errors import CorruptObjectError

CARD = "model_card"

Arrays = dict[str, np.ndarray]


def load_arrays(data: bytes, name: str) -> tuple[Arrays, Mapping[str, str]]:
    """Return the arrays of a safetensors file and its metadata. Raises CorruptObjectError."""
    try:
        return load(data), metadata_of(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as exc:
        raise CorruptObjectError(name, f"it is not a safetensors file: {' '.join(str(exc).split())}") from exc


def metadata_of(data: bytes) -> Mapping[str, str]:
    """Return the metadata of a safetensors file, which `load` leaves out. The file must be valid."""
    size = int.from_bytes(data[:8], "little")
    metadata: Mapping[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return metadata


def read_weights(checkpoint: bytes, name: str) -> tuple[ModelCard, Arrays]:
    """Return the model card of a checkpoint, and `weight` [m, d] and `bias` [m] (absent without bias), float64.

    Raises CorruptObjectError and NewerFormatError.
    """
    arrays, metadata = load_arrays(checkpoint, name)
    try:
        card = ModelCard.from_json(metadata.get(CARD, "{}"))
    except ModelCardError as exc:
        raise CorruptObjectError(name, str(exc)) from exc
    if problem := shape_problem(card, arrays):
        raise CorruptObjectError(name, problem)
    return card, arrays


def shape_problem(card: ModelCard, arrays: Arrays) -> str | None:
    """Return the reason why the arrays do not fit the card, or None."""
    expected = {"weight", "bias"} if card.bias else {"weight"}
    if set(arrays) != expected:
        return f"it holds {sorted(arrays)}, and its model card wants {sorted(expected)}"
    weight_md = arrays["weight"]
    if weight_md.ndim != 2 or weight_md.shape[1] != len(card.columns):
        return f"weight is {kind(weight_md)}, and its model card has {len(card.columns)} columns"
    if card.bias and arrays["bias"].shape != weight_md.shape[:1]:
        return f"bias is {kind(arrays['bias'])}, and weight has {len(weight_md)} rows"
    wrong = [key for key, array in arrays.items() if array.dtype != np.float64]
    return f"{wrong[0]} is {kind(arrays[wrong[0]])}, not float64" if wrong else None


def require_row(dataset: str, row: int, num_models: int, name: str) -> None:
    """Raise CorruptObjectError if a checkpoint has no such row."""
    if not 0 <= row < num_models:
        raise CorruptObjectError(name, f"dataset '{dataset}' is its row {row}, and it has {num_models}")


def kind(array: np.ndarray) -> str:
    """Return shape and type of an array, in words."""
    return f"{array.shape} {array.dtype}"
