"""The coefficients of one champion, read without torch, whose import takes a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handler.model_card import ModelCard
from model_store.errors import CorruptObjectError
from model_store.ledger.champion_columns import CHECKPOINT_EXT
from model_store.ledger.checkpoint_layout import checked_card, load_arrays
from model_store.ledger.versions import Version
from model_store.objects.blobs import BlobRef, read_blob


@dataclass(frozen=True)
class Coefficients:
    """The row of a dataset in the champion table, its model card, and the weights in raw units by encoded column."""

    version: Version
    row: Mapping[str, Any]
    card: ModelCard
    named: dict[str, float]


def read_coefficients(version: Version, dataset: str) -> Coefficients:
    """Return the coefficients of a champion after verifying its checkpoint; with a bias, `intercept` is first.

    Raises UnknownDatasetError, MissingObjectError and CorruptObjectError.
    """
    from safetensors.numpy import load

    row = version.find(dataset)
    name = f"checkpoint {row['checkpoint']}"
    blob = BlobRef(row["checkpoint"], row["checkpoint_size"], CHECKPOINT_EXT)
    arrays, metadata = load_arrays(load, read_blob(version.objects, blob), name)
    card = checked_card(arrays, metadata, name)
    at, num_models = row["row"], len(arrays["weight"])
    require_row(dataset, at, num_models, name)
    bias = arrays["bias"][at] if card.bias else None
    return Coefficients(version, row, card, card.coefficients(arrays["weight"][at].tolist(), bias))


def require_row(dataset: str, row: int, num_models: int, name: str) -> None:
    """Raise CorruptObjectError if a checkpoint has no such row."""
    if not 0 <= row < num_models:
        raise CorruptObjectError(name, f"dataset '{dataset}' is its row {row}, and it has {num_models}")
