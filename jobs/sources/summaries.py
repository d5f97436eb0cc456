"""Summarize the columns of rows: the levels, and the bounds of each group; summaries of several chunks can be merged.

Shapes: n rows · m groups · k raw features, and the target last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handler.model_card import Feature
from jobs.sources.columns import Columns

Floats = NDArray[np.float64]


def levels_of(
    columns: Columns, features: Sequence[Feature], rows_n: NDArray[np.bool_] | None = None
) -> tuple[frozenset[str], ...]:
    """Return the levels of each feature in some rows (None: in all); none for a numeric feature."""
    levels = []
    for feature in features:
        if feature.kind == "categorical":
            text = columns.texts[feature.name]
            code_n = np.unique(text.code_n if rows_n is None else text.code_n[rows_n])
            levels.append(frozenset(text.levels[code_n[code_n >= 0]].tolist()))
        else:
            levels.append(frozenset())
    return tuple(levels)


def with_levels(features: Sequence[Feature], surveyed: Iterable[Sequence[frozenset[str]]]) -> tuple[Feature, ...]:
    """Return the features with the levels of all chunks, sorted."""
    union = [frozenset().union(*of_feature) for of_feature in zip(*surveyed, strict=True)]
    return tuple(
        replace(feature, levels=tuple(sorted(levels))) for feature, levels in zip(features, union, strict=True)
    )


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
