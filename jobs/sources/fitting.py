"""What the rows that train say of each feature: its levels, its mean, its range; and the model card made of it.

What is seen of parts can be merged, so that it does not matter in how many parts the rows are read.

Shapes: n rows · k raw features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from handler.model_card import Feature, ModelCard
from jobs.errors import DataError
from jobs.sources.columns import Columns

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureSummary:
    """Of each of k features: the number of values, their sum, lowest and highest (raw units), or the levels."""

    count_k: Floats
    sum_k: Floats
    min_k: Floats
    max_k: Floats
    levels: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class Fit:
    """A model card whose levels are known, and what goes with it: of shape (k,), NaN where a feature has none."""

    card: ModelCard
    fill_k: Floats
    feature_min_k: Floats
    feature_max_k: Floats


def summarize(columns: Columns, features: Sequence[Feature], trains_n: NDArray[np.bool_]) -> FeatureSummary:
    """Return what those rows say that `trains_n` selects; an empty cell says nothing."""
    nan = np.full(len(features), np.nan)
    count_k, sum_k, min_k, max_k = np.zeros(len(features)), np.zeros(len(features)), nan, nan.copy()
    levels: list[frozenset[str]] = []
    everything = bool(trains_n.all())
    for k, feature in enumerate(features):
        if feature.kind == "categorical":
            text = columns.texts[feature.name]
            code_n = np.unique(text.code_n[trains_n])
            levels.append(frozenset(text.levels[code_n[code_n >= 0]]))
            continue
        levels.append(frozenset())
        raw_n = columns.numbers[feature.name]
        raw_n = raw_n if everything else raw_n[trains_n]
        raw_n = raw_n.astype(np.float64, copy=False)
        if (nan_n := np.isnan(raw_n)).any():
            raw_n = raw_n[~nan_n]
        if len(raw_n):
            count_k[k], sum_k[k], min_k[k], max_k[k] = len(raw_n), raw_n.sum(), raw_n.min(), raw_n.max()
    return FeatureSummary(count_k, sum_k, min_k, max_k, tuple(levels))


def merge(parts: Iterable[FeatureSummary]) -> FeatureSummary:
    """Return what all parts together say."""
    return reduce(_merged, parts)


def _merged(a: FeatureSummary, b: FeatureSummary) -> FeatureSummary:
    return FeatureSummary(
        count_k=a.count_k + b.count_k,
        sum_k=a.sum_k + b.sum_k,
        min_k=np.fmin(a.min_k, b.min_k),
        max_k=np.fmax(a.max_k, b.max_k),
        levels=tuple(of_a | of_b for of_a, of_b in zip(a.levels, b.levels, strict=True)),
    )


def fit(features: Sequence[Feature], seen: FeatureSummary, *, target: str, bias: bool) -> Fit:
    """Return the model card and the fill values. Raises DataError where a feature has no value, or only one level."""
    fitted = tuple(_with_levels(feature, levels) for feature, levels in zip(features, seen.levels, strict=True))
    for feature, count in zip(features, seen.count_k, strict=True):
        if feature.kind == "numeric" and not count:
            raise DataError(f"column {feature.name!r} has no value in the rows that train: remove it from 'features'")
    filled_k = np.array([feature.missing == "mean" for feature in features])
    mean_k = seen.sum_k / np.maximum(seen.count_k, 1)
    card = ModelCard(target, fitted, bias)
    _check_columns(card)
    return Fit(card, np.where(filled_k, mean_k, np.nan), seen.min_k, seen.max_k)


def _with_levels(feature: Feature, levels: frozenset[str]) -> Feature:
    if feature.kind == "categorical" and len(levels) < 2:
        shown = ", ".join(map(repr, levels)) or "none"
        raise DataError(
            f"column {feature.name!r} has one level in the rows that train, {shown}: remove it from 'features'"
        )
    return replace(feature, levels=tuple(sorted(levels)))


def _check_columns(card: ModelCard) -> None:
    name, count = Counter(card.columns).most_common(1)[0]
    if count > 1:
        raise DataError(f"the column {name!r} is both a feature and a level of another: rename one")
