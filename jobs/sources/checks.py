"""Check rows and datasets; each error is one line with file, column, row and value.

Shapes: n rows · m datasets · k raw features, and the target last · d encoded columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handler.model_card import Feature, ModelCard
from handler.transforms import DOMAINS
from jobs.sources.columns import Columns
from model_store.objects.s3_settings import S3Settings

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def bad_rows(columns: Columns, features: Sequence[Feature], target: str, group_by: Sequence[str] = ()) -> Mask:
    """Return which rows have an empty key, or a cell that can't be encoded; levels are not looked at."""
    bad_n = np.zeros(columns.num_rows, dtype=bool)
    for feature in _checked(features, target, group_by):
        valid_n = _valid_cells(columns, feature)
        if not valid_n.all():  # usually all are, and this is faster than to mark none
            bad_n |= ~valid_n
    return bad_n


def error_of_row(
    columns: Columns, row: int, features: Sequence[Feature], target: str, s3: S3Settings, group_by: Sequence[str] = ()
) -> str:
    """Return the error of the first invalid cell of a bad row: its place, its content, and a remedy."""
    one = columns.take(slice(row, row + 1))
    feature = next(feature for feature in _checked(features, target, group_by) if not _valid_cells(one, feature)[0])
    place, content = columns.fragment.format.cell(columns, row, feature.name, s3)
    if feature.name in group_by:
        return f"{place}: the key column {feature.name!r} is empty: fill it, or remove the row"
    return f"{place}: column {feature.name!r}: {content} {_why(one, feature, target)}"


def _checked(features: Sequence[Feature], target: str, group_by: Sequence[str]) -> list[Feature]:
    return [*(Feature(name, "categorical") for name in group_by), Feature(target), *features]


def _valid_cells(columns: Columns, feature: Feature) -> Mask:
    if feature.kind == "categorical":
        return columns.texts[feature.name].code_n >= 0
    value_n = columns.numbers[feature.name]
    valid_n = ~np.isinf(value_n) if feature.missing == "mean" else np.isfinite(value_n)
    if feature.transform is not None:
        domain = DOMAINS[feature.transform]
        valid_n &= (value_n >= domain.lower if domain.closed else value_n > domain.lower) | np.isnan(value_n)
    return valid_n


def _why(one: Columns, feature: Feature, target: str) -> str:
    if feature.kind == "categorical":
        return "is missing: fill it, with a category of its own if need be"
    [value] = one.numbers[feature.name]
    if np.isinf(value):
        return "is infinite: write a finite number"
    if feature.transform is not None and not np.isnan(value):
        domain = f"the domain of {feature.transform}, which is {DOMAINS[feature.transform]}"
        return f"is outside {domain}: correct it, or remove 'transform'"
    if feature.name == target:
        return "is missing: fill it, or remove the row; a target can't be guessed"
    return "is missing: fill it, or set 'missing: mean' for the feature"


def untrainable(
    card: ModelCard, num_rows_m: Floats, low_mk: Floats, high_mk: Floats, fill_mk: Floats | None
) -> dict[int, str]:
    """Return the reasons of datasets whose rows that train do not determine the weights, by position.

    `low_mk` and `high_mk` are the bounds of the raw features, and of the target (last), in the rows that train; NaN for
    text. `fill_mk` are the means that replace missing values; None if no feature has the rule `mean`.
    """
    if reason := _why_not_fit(card):
        return dict.fromkeys(range(len(num_rows_m)), reason)
    constant_mk = low_mk == high_mk
    if not card.bias:
        for k, feature in enumerate(card.features):
            constant_mk[:, k] &= _encodes_zero(feature, low_mk[:, k])
    few_m = num_rows_m < len(card.columns) + card.bias
    empty_mk = np.zeros_like(constant_mk)
    if fill_mk is not None:
        empty_mk[:, :-1] = np.isnan(fill_mk) & [feature.missing == "mean" for feature in card.features]
    bad_m = few_m | constant_mk.any(1) | empty_mk.any(1)
    return {
        at: _why_untrainable(card, int(num_rows_m[at]), low_mk[at], constant_mk[at], empty_mk[at])
        for at in np.flatnonzero(bad_m).tolist()
    }


def _why_not_fit(card: ModelCard) -> str | None:
    for feature in card.features:
        if feature.kind == "categorical" and len(feature.levels) < 2:
            levels = ", ".join(map(repr, feature.levels)) or "none"
            return f"column {feature.name!r} has one level in the rows that train, {levels}: remove it from 'features'"
    name, count = Counter(card.columns).most_common(1)[0]
    return f"the column {name!r} is both a feature and a level of another: rename one" if count > 1 else None


def _encodes_zero(feature: Feature, value_m: Floats) -> Mask:
    """Return where a value is encoded as zero: without a bias, only a column of zeros has no effect."""
    zero_m: Mask = (DOMAINS[feature.transform].function(value_m) if feature.transform else value_m) == 0
    return zero_m


def _why_untrainable(card: ModelCard, num_rows: int, low_k: Floats, constant_k: Mask, empty_k: Mask) -> str:
    if empty_k.any():
        name = card.features[empty_k.argmax()].name
        return f"column {name!r} has no value in the rows that train: remove it from 'features'"
    num_weights = len(card.columns) + card.bias
    if num_rows < num_weights:
        return f"{num_rows} rows train, and there are {num_weights} weights: add rows, or name fewer features"
    if constant_k[-1]:
        reason = f"the target {card.target!r} is {low_k[-1]:g} in every row that trains"
        return f"{reason}: there is nothing to predict; check 'target'"
    at = int(constant_k.argmax())
    reason = f"column {card.features[at].name!r} is {low_k[at]:g} in every row that trains"
    return f"{reason}: remove it from 'features'; the bias stands for a constant"


def why_equal(card: ModelCard, x_nd: Floats) -> str | None:
    """Return the reason if two columns are equal in every row. Most differ already in their first rows or sums."""
    seen: dict[bytes, int] = {}
    sum_d = x_nd.sum(axis=0)
    for at in range(x_nd.shape[1]):
        sketch = np.append(x_nd[:16, at], sum_d[at]) + 0.0
        before = seen.setdefault(sketch.tobytes(), at)
        if before != at and np.array_equal(x_nd[:, before], x_nd[:, at]):
            return equal_reason(card, before, at)
    return None


def equal_reason(card: ModelCard, first: int, second: int) -> str:
    """Return the reason of a dataset with two equal columns."""
    names = f"columns {card.columns[first]!r} and {card.columns[second]!r}"
    return f"{names} are equal in every row that trains: remove one from 'features'"
