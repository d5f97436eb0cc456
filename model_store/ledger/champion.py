"""The champion of a dataset: its row in the champion table, and its model.

Shapes: d encoded columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from handler.model_card import ModelCard
from handler.stack import Stack
from model_store.ledger.champion_columns import row_blobs
from model_store.ledger.checkpoints import read_stack
from model_store.ledger.coefficients import require_row
from model_store.ledger.versions import Version
from model_store.objects.blobs import read_blobs


@dataclass(frozen=True)
class ChampionModel:
    """The model of one dataset in one version: row `stack_row` of `stack`; `row` is its row of the champion table."""

    version: Version
    row: Mapping[str, Any]
    stack: Stack
    stack_row: int

    @property
    def dataset(self) -> str:
        return str(self.row["dataset"])

    @property
    def card(self) -> ModelCard:
        return self.stack.card

    @property
    def coefficients(self) -> dict[str, float]:
        """The weights in raw units by the names of their encoded columns, after `intercept` if there is a bias."""
        bias = None if self.stack.bias_m is None else self.stack.bias_m[self.stack_row].item()
        return self.card.coefficients(self.stack.weight_md[self.stack_row].tolist(), bias)

    def linear(self) -> nn.Linear:
        """Return the model as an `nn.Linear(d, 1)` in PyTorch's default dtype."""
        return self.stack.linear(self.stack_row)


def read_champion(version: Version, dataset: str) -> ChampionModel:
    """Return a champion with verified blobs. Raises UnknownDatasetError, MissingObjectError and CorruptObjectError."""
    row = version.find(dataset)
    checkpoint, *statistics = read_blobs(version.objects, row_blobs(row))
    name = f"checkpoint {row['checkpoint']}"
    stack = read_stack(checkpoint, statistics[0] if statistics else None, name)
    require_row(dataset, row["row"], len(stack.weight_md), name)
    return ChampionModel(version, row, stack, row["row"])
