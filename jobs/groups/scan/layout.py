"""The layout of a scanned source: columns, keys, fill values, and the rows that validate.

Shapes: n rows · m groups · k raw features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handler.model_card import ModelCard
from jobs.groups.scan.packed import Codes, Floats
from jobs.sources.columns import Wanted
from jobs.sources.dataset import wanted_columns
from jobs.sources.resolved import ResolvedSource
from jobs.sources.validation_split import Split


@dataclass(frozen=True)
class Fills:
    """The values that replace missing ones, by group (raw units, NaN without values or without the rule `mean`)."""

    name_m: pa.Array
    fill_mk: Floats

    def of(self, name_m: pa.Array) -> Floats:
        """Return the fill values of these groups, NaN for a group without rows that train."""
        place_m = pc.index_in(name_m, self.name_m).fill_null(-1).to_numpy(zero_copy_only=False)
        filled: Floats = np.where(place_m[:, None] >= 0, self.fill_mk[place_m], np.nan)
        return filled


@dataclass(frozen=True)
class Layout:
    """How rows are read: a card with one column for every level, the columns of the group key, the split.

    The names of groups begin with `prefix`.
    """

    dataset: str
    card: ModelCard
    group_by: tuple[str, ...]
    split: Split | None
    fills: Fills | None
    prefix: str = ""

    @property
    def row_names(self) -> list[str]:
        """The columns that enter the hash of a row."""
        return [*self.card.feature_names, self.card.target]

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The columns to read."""
        return wanted_columns(self.card.features, self.card.target, self.group_by)

    def fill_of(self, name_m: pa.Array, code_n: Codes) -> Floats | None:
        """Return the fill values of rows, by their group, (n, k); None without the rule `mean`.

        The value is 0 for a group without values, which `trainable` refuses.
        """
        return None if self.fills is None else np.nan_to_num(self.fills.of(name_m))[code_n]


def initial_layout(source: ResolvedSource) -> Layout:
    """Return the layout from the configuration, without levels and fill values."""
    key, prefix = source.group_by, source.prefix
    card = ModelCard(source.target, source.features, bias=False, group_by=key, group_prefix=prefix)
    return Layout(source.name, card, source.group_by, source.split, None, source.prefix)
