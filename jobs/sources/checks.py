"""Check rows and datasets; each error is one line with file, column, row and value.

Shapes: n rows · m datasets · k raw features, and the target last · d encoded columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from handler.rows.model_card import Feature, ModelCard
from handler.rows.transforms import DOMAINS
from jobs.sources.columns import Columns
from jobs.sources.row_weights import RowWeights
from model_store.objects.s3_settings import S3Settings

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Reasons = NDArray[np.int16]

TRANSFORM_KEYS = ("transform", "target_transform")

LARGEST = 1e150  # its square, summed over any number of rows, is a float64
ONE_ROW = "one row trains: add rows"


def left_out_reasons(features: Sequence[Feature], target: Feature) -> tuple[str, ...]:
    """Return the reasons for which rows are left out: the columns whose rule for missing cells is `drop`."""
    dropping = [feature.name for feature in features if feature.missing == "drop"]
    return (*(["target missing"] if target.missing == "drop" else []), *(f"{name!r} missing" for name in dropping))


def left_out_of(reasons: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
    """Return the numbers of rows that are left out, by reason, without zeros."""
    return {reason: count for reason, count in zip(reasons, counts, strict=True) if count}


def no_row_left(left_out: Mapping[str, int]) -> str:
    """Return the reason of a dataset whose rows are all left out."""
    counted = ", ".join(f"{count} for {reason}" for reason, count in left_out.items())
    return f"no row is left to train: {counted}: add rows, or change 'missing' or 'missing_target'"


def left_out_rows(columns: Columns, features: Sequence[Feature], target: Feature) -> Reasons | None:
    """Return the position of the reason for which each row is left out, -1 for rows that stay; None if all stay."""
    reason_n: Reasons | None = None
    for at, feature in enumerate(feature for feature in (target, *features) if feature.missing == "drop"):
        missing_n = _missing_cells(columns, feature)
        if missing_n.any():
            reason_n = np.full(columns.num_rows, -1, np.int16) if reason_n is None else reason_n
            reason_n[missing_n & (reason_n < 0)] = at
    return reason_n


def _missing_cells(columns: Columns, feature: Feature) -> Mask:
    missing_n: Mask = (
        columns.texts[feature.name].code_n < 0
        if feature.kind == "categorical"
        else np.isnan(columns.numbers[feature.name])
    )
    return missing_n


def bad_rows(
    columns: Columns,
    features: Sequence[Feature],
    target: Feature,
    group_by: Sequence[str] = (),
    weights: RowWeights | None = None,
) -> Mask:
    """Return which rows have an empty key, a cell that can't be encoded, or no weight; levels are not looked at."""
    bad_n = np.zeros(columns.num_rows, dtype=bool)
    bad_n[list(columns.bad)] = True
    for feature in _checked(features, target, group_by):
        valid_n = _valid_cells(columns, feature)
        if not valid_n.all():  # usually all are, and this is faster than to mark none
            bad_n |= ~valid_n
    if weights is not None:
        bad_n |= ~_valid_weights(weights.of(columns))
    return bad_n


def error_of_row(
    columns: Columns,
    row: int,
    features: Sequence[Feature],
    target: Feature,
    s3: S3Settings,
    group_by: Sequence[str] = (),
    weights: RowWeights | None = None,
) -> str:
    """Return the error of the first invalid cell of a bad row: its place, its content, and a remedy."""
    if row in columns.bad:
        return columns.bad[row]
    one = columns.take(slice(row, row + 1))
    if weights is not None and not _valid_weights(weights.of(one))[0]:
        place, content = columns.fragment.format.cell(columns, row, weights.column, s3)
        return f"{place}: column {weights.column!r}: {content} is no weight: write a number, 0 (not there) or more"
    feature = next(feature for feature in _checked(features, target, group_by) if not _valid_cells(one, feature)[0])
    place, content = columns.fragment.format.cell(columns, row, feature.name, s3)
    if feature.name in group_by:
        return f"{place}: the key column {feature.name!r} is empty: fill it, or remove the row"
    return f"{place}: column {feature.name!r}: {content} {_why(one, feature, target.name)}"


def _valid_weights(weight_n: Floats) -> Mask:
    valid_n: Mask = np.isfinite(weight_n) & (weight_n >= 0)
    return valid_n


def _checked(features: Sequence[Feature], target: Feature, group_by: Sequence[str]) -> list[Feature]:
    return [*(Feature(name, "categorical") for name in group_by), target, *features]


def _valid_cells(columns: Columns, feature: Feature) -> Mask:
    if feature.kind == "categorical":
        code_n = columns.texts[feature.name].code_n
        return np.ones(len(code_n), dtype=bool) if feature.missing != "error" else code_n >= 0
    value_n = columns.numbers[feature.name]
    valid_n: Mask = np.isfinite(value_n) if feature.missing == "error" else ~np.isinf(value_n)
    if feature.transform is not None:
        valid_n &= DOMAINS[feature.transform].holds(value_n) | np.isnan(value_n)
    return valid_n


def _why(one: Columns, feature: Feature, target: str) -> str:
    if feature.kind == "categorical":
        return (
            "is missing: fill it, set 'missing: level' for a level of its own, or 'missing: drop' to leave out the row"
        )
    [value] = one.numbers[feature.name]
    if np.isinf(value):
        return "is infinite: write a finite number"
    if feature.transform is not None and not np.isnan(value):
        domain = f"the domain of {feature.transform}, which is {DOMAINS[feature.transform]}"
        return f"is outside {domain}: correct it, or remove {TRANSFORM_KEYS[feature.name == target]!r}"
    if feature.name == target:
        return "is missing: fill it, or set 'missing_target: drop' to leave out the row; a target can't be guessed"
    return "is missing: fill it, or set 'missing: mean' for the feature, or 'missing: drop' to leave out the row"


def untrainable(
    card: ModelCard, num_rows_m: Floats, low_mk: Floats, high_mk: Floats, fill_mk: Floats | None
) -> dict[int, str]:
    """Return the reasons of datasets with nothing to learn in the rows that train, by position.

    `low_mk` and `high_mk` are the bounds of the raw features, and of the target (last), in the rows that train; NaN for
    text. `fill_mk` are the means that replace missing values; None if no feature has the rule `mean`.
    """
    if reason := _why_not_fit(card):
        return dict.fromkeys(range(len(num_rows_m)), reason)
    constant_mk = low_mk == high_mk
    for k, feature in enumerate(card.features):
        if feature.kind == "categorical":
            constant_mk[:, k] = feature.num_columns(card.bias) == 0
        elif not card.bias:
            constant_mk[:, k] &= _encodes_zero(feature, low_mk[:, k])
    empty_mk = np.zeros_like(constant_mk)
    if fill_mk is not None:
        empty_mk[:, :-1] = np.isnan(fill_mk) & [feature.fills for feature in card.features]
    alone_m = num_rows_m < 2
    bad_m = alone_m | constant_mk[:, :-1].all(1) | constant_mk[:, -1] | empty_mk.any(1)
    return _too_large(card, low_mk, high_mk) | {
        at: ONE_ROW if alone_m[at] else _why_untrainable(card, low_mk[at], constant_mk[at], empty_mk[at])
        for at in np.flatnonzero(bad_m).tolist()
    }


def _too_large(card: ModelCard, low_mk: Floats, high_mk: Floats) -> dict[int, str]:
    """Return the reasons of datasets with values whose squares float64 can't hold, by position."""
    raw_k = [feature.transform is None for feature in card.features] + [card.target_transform is None]
    size_mk = np.fmax(np.abs(low_mk), np.abs(high_mk))
    large_mk, names = (size_mk > LARGEST) & raw_k, [*card.feature_names, card.target]
    reasons = {}
    for at in np.flatnonzero(large_mk.any(1)).tolist():
        k = int(large_mk[at].argmax())
        remedy = "divide the column by a power of ten, or remove it"
        reasons[at] = f"column {names[k]!r} has values of size {size_mk[at, k]:.3g}, which can't be squared: {remedy}"
    return reasons


def too_few_rows(num_rows: int, num_weights: int) -> str:
    """Return the reason of a dataset whose rows are fewer than its weights, and all different from each other."""
    remedy = "add rows, name fewer features, or set 'grid.weight_decay' above 0"
    return f"{num_rows} rows train, and there are {num_weights} weights: {remedy}"


def _why_not_fit(card: ModelCard) -> str | None:
    name, count = Counter(card.columns).most_common(1)[0] if card.columns else ("", 0)
    return f"the column {name!r} is both a feature and a level of another: rename one" if count > 1 else None


def _encodes_zero(feature: Feature, value_m: Floats) -> Mask:
    """Return where a value is encoded as zero: without a bias, only a column of zeros has no effect."""
    value_m = DOMAINS[feature.transform].function(value_m) if feature.transform else value_m - feature.origin
    zero_m: Mask = value_m == 0
    return zero_m


def _why_untrainable(card: ModelCard, low_k: Floats, constant_k: Mask, empty_k: Mask) -> str:
    if empty_k.any():
        name = card.features[empty_k.argmax()].name
        return f"column {name!r} has no value in the rows that train: remove it from 'features'"
    if constant_k[-1]:
        reason = f"the target {card.target!r} is {low_k[-1]:g} in every row that trains"
        return f"{reason}: there is nothing to predict; check 'target'"
    [feature, *others] = card.features
    if others:
        return "every feature has one value in the rows that train: there is nothing to learn; name other features"
    value = repr(feature.levels[0]) if feature.levels else f"{low_k[0]:g}"
    return (
        f"column {feature.name!r} is {value} in every row that trains: there is nothing to learn; name another feature"
    )


def one_level(card: ModelCard) -> tuple[str, ...]:
    """Return a sentence for each category that has no column, as its only level is the reference."""
    return tuple(
        f"column {feature.name!r} is {feature.levels[0]!r} in every row that trains: it has no weight"
        for feature in card.features
        if feature.levels and feature.num_columns(card.bias) == 0
    )
