"""Summarize the columns of rows: the levels, and the bounds of each group; summaries of several chunks can be merged.

Shapes: n rows · m groups · k raw features, and the target last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handler.rows.date_parts import level_of, part_of
from handler.rows.model_card import MISSING_LEVEL, OTHER_LEVEL, Feature
from jobs.sources.columns import Columns

Floats = NDArray[np.float64]


def levels_of(
    columns: Columns, features: Sequence[Feature], rows_n: NDArray[np.bool_] | None = None
) -> tuple[Mapping[str, int], ...]:
    """Return the levels of each feature in some rows (None: in all), with their numbers of rows; none for a number."""
    return tuple(_counted(columns, feature, rows_n) for feature in features)


def _counted(columns: Columns, feature: Feature, rows_n: NDArray[np.bool_] | None) -> dict[str, int]:
    if feature.kind == "categorical":
        text = columns.texts[feature.name]
        code_n = text.code_n if rows_n is None else text.code_n[rows_n]
        count_n = np.bincount(code_n.astype(np.int64) + 1, minlength=len(text.levels) + 1)
        used = np.flatnonzero(count_n[1:])
        counted = dict(zip(text.levels[used].tolist(), count_n[1:][used].tolist(), strict=True))
        if count_n[0] and feature.missing == "level":
            counted[MISSING_LEVEL] = counted.get(MISSING_LEVEL, 0) + int(count_n[0])
        return counted
    counted = {}
    for part in feature.parts if feature.kind == "datetime" and not feature.cyclic else ():
        if part != "days":
            days_n = columns.numbers[feature.name] if rows_n is None else columns.numbers[feature.name][rows_n]
            values, counts = np.unique(part_of(part, days_n[~np.isnan(days_n)]), return_counts=True)
            counted |= {level_of(part, value): n for value, n in zip(values.tolist(), counts.tolist(), strict=True)}
    return counted


def total(counted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return all levels with the sums of their numbers of rows."""
    count: Counter[str] = Counter()
    for each in counted:
        count.update(each)  # keeps a level of no rows
    return dict(count)


def with_levels(
    features: Sequence[Feature], surveyed: Iterable[Sequence[Mapping[str, int]]], min_counts: Mapping[str, int]
) -> tuple[Feature, ...]:
    """Return the features with the levels of all chunks, sorted; of rare levels there is one, for unseen ones too."""
    return tuple(
        _with_levels(feature, of_feature, min_counts.get(feature.name, 0))
        for feature, of_feature in zip(features, zip(*surveyed, strict=True), strict=True)
    )


def _with_levels(feature: Feature, counted: Iterable[Mapping[str, int]], min_count: int) -> Feature:
    if feature.kind == "numeric":
        return feature
    count = total(counted)
    often = {level for level, rows in count.items() if rows >= min_count}
    if len(often) == len(count):
        return replace(feature, levels=tuple(sorted(often)))
    return replace(feature, levels=tuple(sorted({*often, OTHER_LEVEL})), unseen="other")


def bounds_of(
    columns: Columns,
    features: Sequence[Feature],
    target: str,
    code_n: NDArray[np.int64],
    num_groups: int,
    rows_n: NDArray[np.bool_] | None = None,
) -> tuple[Floats, Floats]:
    """Return the minimum and the maximum of each raw feature and of the target in some rows (None: in all), by group.

    They are NaN for text, and for a group without values.
    """
    low_mk = np.full((num_groups, len(features) + 1), np.nan)
    high_mk = low_mk.copy()
    code_n = code_n if rows_n is None else code_n[rows_n]
    for k, feature in enumerate((*features, Feature(target))):
        if feature.kind == "categorical" or not len(code_n):
            continue
        value_n = columns.numbers[feature.name] if rows_n is None else columns.numbers[feature.name][rows_n]
        if num_groups == 1:
            low_mk[0, k], high_mk[0, k] = np.fmin.reduce(value_n), np.fmax.reduce(value_n)
            continue
        low_m, high_m = low_mk[:, k].copy(), high_mk[:, k].copy()  # contiguous, which is faster
        np.fmin.at(low_m, code_n, value_n)
        np.fmax.at(high_m, code_n, value_n)
        low_mk[:, k], high_mk[:, k] = low_m, high_m
    return low_mk, high_mk
