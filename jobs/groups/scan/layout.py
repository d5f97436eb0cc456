"""Make the layout of a scanned source: from the configuration, and completed by a survey of its rows.

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
    """Return the layout from the configuration, without levels and fill values."""
    card = ModelCard(source.target, source.features, bias=False)
    return Layout(source.name, card, source.group_by, source.split, None)


def with_surveys(layout: Layout, surveys: Sequence[Survey]) -> Layout:
    """Return the layout with the levels and the fill values of the surveyed rows."""
    merged = merge_surveys(surveys, len(layout.card.features))
    features = tuple(
        replace(feature, levels=tuple(sorted(levels))) if feature.kind == "categorical" else feature
        for feature, levels in zip(layout.card.features, merged.levels, strict=True)
    )
    filled_k = np.array([feature.missing == "mean" for feature in features])
    fills = Fills(merged.name_m, merged.means()) if filled_k.any() else None
    return replace(layout, card=replace(layout.card, features=features), fills=fills)
