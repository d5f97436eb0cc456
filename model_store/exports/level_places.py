"""Which values programs refuse as `handler` does: the places of levels among their columns, and the longest date."""

from __future__ import annotations

from dataclasses import dataclass

from handler.rows.model_card import MISSING_LEVEL, OTHER_LEVEL, Feature
from model_store.exports.encoded_columns import Levels

NO_COLUMN, REFUSED = -1, -2
LONGEST_DAYS = 4e6  # ISO 8601 text ends with the year 9999, so `handler` takes no date beyond


@dataclass(frozen=True)
class Places:
    """The place of each level among the columns, NO_COLUMN for a reference; of a missing value, and of other levels.

    REFUSED stands for what `handler` refuses.
    """

    of_level: dict[str | int, int]
    missing: int
    unseen: int


def places(feature: Feature, levels: Levels) -> Places:
    """Return the places of the levels of a feature, or of a part of its dates."""
    of_level = {level: max(at - levels.has_reference, NO_COLUMN) for at, level in enumerate(levels.levels)}
    unseen = NO_COLUMN if feature.unseen == "reference" else REFUSED
    if feature.unseen == "other" and feature.kind == "categorical":
        unseen = of_level.get(OTHER_LEVEL, REFUSED)
    missing = of_level.get(MISSING_LEVEL, unseen) if feature.missing == "level" else REFUSED
    return Places(of_level, missing, unseen)
