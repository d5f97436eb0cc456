"""From a source to how its rows are read, before and after a survey of them.

Shapes: m groups · k raw features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handler.model_card import ModelCard
from jobs.groups.scan.layout_types import Fills, Layout
from jobs.groups.scan.scan import Survey, merge_surveys
from jobs.sources.resolved import ResolvedSource


def initial_layout(source: ResolvedSource) -> Layout:
    """Return how rows are read as far as the configuration tells: without levels and fill values."""
    card = ModelCard(source.target, source.features, bias=False)
    return Layout(source.name, card, source.group_by, source.split, None)


def with_surveys(layout: Layout, surveys: Sequence[Survey]) -> Layout:
    """Return the layout with the levels and the fill values that the rows have."""
    found = merge_surveys(surveys, len(layout.card.features))
    features = tuple(
        replace(feature, levels=tuple(sorted(levels))) if feature.kind == "categorical" else feature
        for feature, levels in zip(layout.card.features, found.levels, strict=True)
    )
    filled_k = np.array([feature.missing == "mean" for feature in features])
    fills = Fills(found.name_m, found.means()) if filled_k.any() else None
    return replace(layout, card=replace(layout.card, features=features), fills=fills)
