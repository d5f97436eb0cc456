"""The layout of a scanned source: columns, keys, fill values, and the rows that validate.

Shapes: n rows · m groups · k raw features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handler.rows.model_card import Feature, ModelCard
from jobs.groups.scan.packed import Codes, Floats
from jobs.sources.checks import left_out_reasons
from jobs.sources.columns import Wanted
from jobs.sources.dataset import wanted_columns
from jobs.sources.resolved import ResolvedSource
from jobs.sources.row_weights import RowWeights
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
    """How rows are read: a card with one column for every level, the columns of the key, the split, the weights.

    Each feature of the card has columns of its own; those that only terms take are `hidden`. `min_counts` are the
    fewest rows of a level, `unused` the reasons of columns that patterns found and that are of no use. The names of
    groups begin with `prefix`.
    """

    dataset: str
    card: ModelCard
    group_by: tuple[str, ...]
    split: Split | None
    fills: Fills | None
    prefix: str = ""
    hidden: frozenset[str] = frozenset()
    missing_target: Literal["error", "drop"] = "error"
    min_counts: Mapping[str, int] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    weights: RowWeights | None = None

    @property
    def target(self) -> Feature:
        """The target, as checks of cells see it."""
        return Feature(self.card.target, transform=self.card.target_transform, missing=self.missing_target)

    @property
    def left_out_reasons(self) -> tuple[str, ...]:
        """The reasons for which rows are left out."""
        return left_out_reasons(self.card.features, self.target)

    @property
    def row_names(self) -> list[str]:
        """The columns that enter the hash of a row."""
        return [*self.card.feature_names, self.card.target, *([self.weights.column] if self.weights else [])]

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The columns to read; a cell of another kind is the error of its group."""
        wanted = wanted_columns(self.card.features, self.card.target, self.group_by, self.weights)
        return tuple(replace(column, bad_cells="mark") for column in wanted)

    def fill_of(self, name_m: pa.Array, code_n: Codes) -> Floats | None:
        """Return the fill values of rows, by their group, (n, k); None without the rule `mean`.

        The value is 1, which each transform takes, for a group without values, which `trainable` refuses.
        """
        return None if self.fills is None else np.nan_to_num(self.fills.of(name_m), nan=1.0)[code_n]


def initial_layout(source: ResolvedSource) -> Layout:
    """Return the layout from the configuration, without levels and fill values."""
    full = source.card(bias=False)
    return Layout(
        dataset=source.name,
        card=replace(full, features=tuple(replace(feature, main=True) for feature in full.features)),
        group_by=source.group_by,
        split=source.split,
        fills=None,
        prefix=source.prefix,
        hidden=frozenset(feature.name for feature in full.features if not feature.main),
        missing_target=source.missing_target,
        min_counts=source.min_counts,
        unused=source.unused,
        weights=source.weights,
    )
