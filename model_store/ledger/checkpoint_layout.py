"""Check the arrays and the metadata of a checkpoint, as torch tensors or, without importing torch, in NumPy.

Shapes: m models · d encoded columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from safetensors import SafetensorError

from handler.errors import ModelCardError
from handler.model_card import ModelCard
from model_store.errors import CorruptObjectError

CARD = "model_card"


class Array(Protocol):
    """A tensor, or a NumPy array."""

    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    def __len__(self) -> int: ...


A = TypeVar("A", bound=Array)


def load_arrays(
    load: Callable[[bytes], dict[str, A]], data: bytes, name: str
) -> tuple[dict[str, A], Mapping[str, str]]:
    """Return the arrays of a blob, read by safetensors' `load`, and its metadata. Raises CorruptObjectError."""
    try:
        return load(data), metadata_of(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as exc:
        raise CorruptObjectError(name, f"it is not a safetensors file: {' '.join(str(exc).split())}") from exc


def metadata_of(data: bytes) -> Mapping[str, str]:
    """Return the metadata of a safetensors file, which `load` has found to be one: it leaves them out."""
    size = int.from_bytes(data[:8], "little")
    metadata: Mapping[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return metadata


def checked_card(arrays: Mapping[str, Array], metadata: Mapping[str, str], name: str) -> ModelCard:
    """Return the model card, if the arrays fit it. Raises CorruptObjectError and NewerFormatError."""
    try:
        card = ModelCard.from_json(metadata.get(CARD, "{}"))
    except ModelCardError as exc:
        raise CorruptObjectError(name, str(exc)) from exc
    if problem := shape_problem(card, arrays):
        raise CorruptObjectError(name, problem)
    return card


def shape_problem(card: ModelCard, arrays: Mapping[str, Array]) -> str | None:
    """Return the reason why the arrays do not fit the card, or None."""
    expected = {"weight", "bias"} if card.bias else {"weight"}
    if set(arrays) != expected:
        return f"it holds {sorted(arrays)}, and its model card wants {sorted(expected)}"
    weight_md = arrays["weight"]
    if weight_md.ndim != 2 or weight_md.shape[1] != len(card.columns):
        return f"weight is {kind(weight_md)}, and its model card has {len(card.columns)} columns"
    if card.bias and arrays["bias"].shape != weight_md.shape[:1]:
        return f"bias is {kind(arrays['bias'])}, and weight has {len(weight_md)} rows"
    wrong = [key for key, array in arrays.items() if not is_float64(array)]
    return f"{wrong[0]} is {kind(arrays[wrong[0]])}, not float64" if wrong else None


def is_float64(array: Array) -> bool:
    """Return whether the array holds float64."""
    return _dtype(array) == "float64"


def kind(array: Array) -> str:
    """Return shape and type of an array, in words."""
    return f"{tuple(array.shape)} {_dtype(array)}"


def _dtype(array: Array) -> str:
    return str(array.dtype).removeprefix("torch.")
