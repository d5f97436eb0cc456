"""The layout of a scanned source: columns, keys, fill values, and the rows that validate.

Shapes: m groups · k raw features · g groups of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handler.model_card import ModelCard
from jobs.groups.scan.packed import Floats
from jobs.sources.validation_split import Split


@dataclass(frozen=True)
class Fills:
    """The values that replace missing ones, by group (raw units, NaN for a feature without the rule)."""

    name_m: pa.Array
    fill_mk: Floats

    def of(self, name_g: pa.Array) -> Floats:
        """Return the fill values of these groups, NaN for a group without rows that train."""
        place = pc.index_in(name_g, self.name_m).fill_null(-1).to_numpy(zero_copy_only=False)
        filled: Floats = np.where(place[:, None] >= 0, self.fill_mk[place], np.nan)
        return filled


@dataclass(frozen=True)
class Layout:
    """How rows are read: a card with one column for every level, the columns of the group key, the split."""

    dataset: str
    card: ModelCard
    group_by: tuple[str, ...]
    split: Split | None
    fills: Fills | None

    @property
    def row_names(self) -> list[str]:
        """The columns that enter the hash of a row."""
        return [*self.card.feature_names, self.card.target]
