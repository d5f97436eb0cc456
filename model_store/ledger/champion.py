"""The champion of a dataset: its row in the champion table, and its model, read without importing torch.

Shapes: d encoded columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from handler.rows.model_card import ModelCard
from model_store.ledger.champion_columns import row_blobs
from model_store.ledger.checkpoint_arrays import read_weights, require_row
from model_store.ledger.versions import Version
from model_store.objects.blobs import read_blobs

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ChampionModel:
    """The model of one dataset in one version, in raw units, float64; `row` is its row of the champion table.

    `bias_1` is empty if the model card has no bias.
    """

    version: Version
    row: Mapping[str, Any]
    card: ModelCard
    weight_d: np.ndarray
    bias_1: np.ndarray

    @property
    def coefficients(self) -> dict[str, float]:
        """The weights in raw units by the names of their encoded columns, after `intercept` if there is a bias."""
        return self.card.coefficients(self.weight_d.tolist(), self.bias_1.item() if self.card.bias else None)

    def linear(self) -> nn.Linear:
        """Return the model as an `nn.Linear(d, 1)` in PyTorch's default dtype."""
        import torch

        from handler.models.stack import Stack

        bias_1 = torch.from_numpy(self.bias_1) if self.card.bias else None
        return Stack(self.card, torch.from_numpy(self.weight_d[np.newaxis]), bias_1).linear(0)


def read_champion(version: Version, dataset: str, *, verify_statistics: bool = True) -> ChampionModel:
    """Return a champion after verifying its checkpoint, and the blob of its statistics unless switched off.

    Raises UnknownDatasetError, MissingObjectError and CorruptObjectError.
    """
    row = version.find(dataset)
    blobs = list(row_blobs(row))
    checkpoint, *_ = read_blobs(version.objects, blobs if verify_statistics else blobs[:1])
    name = f"checkpoint {row['checkpoint']}"
    card, arrays = read_weights(checkpoint, name)
    at = row["row"]
    require_row(dataset, at, len(arrays["weight"]), name)
    return ChampionModel(version, row, card, arrays["weight"][at], arrays.get("bias", np.empty(0))[at : at + 1])
