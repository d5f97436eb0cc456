"""Checkpoints: a stack as safetensors, which holds numbers and text and can't hold code.

The checkpoint has `weight` [m, d] and `bias` [m], float64, and the model card in its metadata; with m = 1 it loads
into an `nn.Linear(d, 1)` strictly. What serving knows beyond the weights is a second blob. Equal stacks give equal
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import Tensor

from handler.model_card import ModelCard
from handler.stack import Stack, Statistics
from model_store.errors import CorruptObjectError, NewerFormatError, StoreError
from model_store.ledger.checkpoint_layout import CARD, checked_card, is_float64, kind, load_arrays, shape_problem

STATISTICS_FORMAT = 1
STATISTICS = {
    "fill": "fill_mk",
    "feature_min": "feature_min_mk",
    "feature_max": "feature_max_mk",
    "column_mean": "column_mean_md",
    "num_rows": "num_rows_m",
    "inverse_cross_product": "inverse_cross_product_mpp",
    "residual_variance": "residual_variance_m",
}
OPTIONAL = ("inverse_cross_product", "residual_variance")


def write_checkpoint(stack: Stack) -> bytes:
    """Return the checkpoint of a stack. Raises StoreError if its shapes do not fit its card."""
    tensors = {"weight": stack.weight_md} | ({} if stack.bias_m is None else {"bias": stack.bias_m})
    if problem := shape_problem(stack.card, tensors):
        raise StoreError(f"the stack of target '{stack.card.target}' can't be stored: {problem}")
    return save(_plain(tensors), metadata={CARD: stack.card.to_json()})


def write_statistics(stack: Stack) -> bytes | None:
    """Return the statistics blob of a stack, or None if it has none."""
    if stack.statistics is None:
        return None
    tensors = {name: getattr(stack.statistics, attribute) for name, attribute in STATISTICS.items()}
    present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    return save(_plain(present), metadata={"format": str(STATISTICS_FORMAT)})


def read_stack(checkpoint: bytes, statistics: bytes | None = None, name: str = "checkpoint") -> Stack:
    """Return the stack of a checkpoint and its statistics; `name` stands in the errors.

    Raises CorruptObjectError for bytes that are not one, and NewerFormatError for those of a newer gridline.
    """
    tensors, metadata = load_arrays(load, checkpoint, name)
    card = checked_card(tensors, metadata, name)
    rows = None if statistics is None else _read_statistics(statistics, card, len(tensors["weight"]), name)
    return Stack(card, tensors["weight"], tensors.get("bias"), rows)


def _read_statistics(data: bytes, card: ModelCard, num_models: int, name: str) -> Statistics:
    tensors, metadata = load_arrays(load, data, f"the statistics of {name}")
    found = metadata.get("format", "")
    if found.isdecimal() and int(found) > STATISTICS_FORMAT:
        raise NewerFormatError(f"the statistics of {name}", found, STATISTICS_FORMAT)
    m, k, d = num_models, len(card.features), len(card.columns)
    p = d + card.bias
    shapes = dict(
        zip(STATISTICS, [(m, k), (m, k), (m, k), (m, d), (m,), (m, p, p), (m,)], strict=True),
    )
    for key, shape in shapes.items():
        if key not in tensors and key not in OPTIONAL:
            raise CorruptObjectError(f"the statistics of {name}", f"'{key}' is missing")
        if key in tensors and (tensors[key].shape != shape or not is_float64(tensors[key])):
            raise CorruptObjectError(
                f"the statistics of {name}", f"'{key}' is {kind(tensors[key])}, not {shape} float64"
            )
    return Statistics(**{attribute: tensors[key] for key, attribute in STATISTICS.items() if key in tensors})


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.detach().to("cpu", torch.float64, copy=True).contiguous() for key, tensor in tensors.items()}
