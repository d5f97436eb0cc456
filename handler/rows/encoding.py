"""The only encoder of rows, for training and serving: it turns raw columns into a matrix, as a model card says.

Shapes: n rows · k raw features · d encoded columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EncodingError
from ..wording import shortened
from .date_parts import DatePart, circle_of, part_of, values_of
from .model_card import OTHER_LEVEL, Feature, ModelCard
from .products import write_terms
from .transforms import DOMAINS

Floats = NDArray[np.float64]

CUT = 100  # characters of a value that are looked at for a message
CHUNK_ROWS = 8192  # a chunk of the result stays in the cache: 3x faster than writing whole columns


def encode(
    card: ModelCard,
    columns: Mapping[str, NDArray[np.generic]],
    fill_k: Floats | None = None,
    *,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return `x_nd`, float64 of shape (n, d): the columns encoded as the model card says.

    With `out`, an array of this shape with any memory order and float type, the result is written there and returned.

    `columns` holds, for each feature of the card, n values in raw units: an array of numbers for a numeric feature
    (NaN for a missing value), of days since 1970-01-01 UTC for a datetime, of `str` (dtype object or str; None for a
    missing value) for a categorical one. Other columns are ignored.
    `fill_k`, of shape (k,) or (n, k), has the value that replaces a missing one for each feature that fills, and NaN
    for the others.
    Raises EncodingError, with the feature, the row and the value, for a missing value that can't be filled, a value
    that is infinite, not a number, or outside the domain of the feature's transform, for a level that training
    did not see if the card says that this is an error, and for a product that is beyond float64.
    """
    names = card.feature_names
    absent = next((name for name in names if name not in columns), None)
    if absent is not None:
        reason = f"feature {absent!r} is missing; found {sorted(columns)}, and the model takes {list(names)}"
        raise EncodingError(reason, feature=absent, row=0, value=None)
    arrays = [columns[name] for name in names]
    num_rows = len(arrays[0]) if arrays else 0
    x_nd: NDArray[Any] = np.empty((num_rows, card.num_columns)) if out is None else out
    if num_rows <= CHUNK_ROWS:
        _encode_chunk(card, arrays, fill_k, 0, x_nd)
        return x_nd
    for start in range(0, num_rows, CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        fill = fill_k[chunk] if fill_k is not None and fill_k.ndim == 2 else fill_k
        _encode_chunk(card, [array[chunk] for array in arrays], fill, start, x_nd[chunk])
    return x_nd


def _encode_chunk(
    card: ModelCard,
    arrays: Sequence[NDArray[np.generic]],
    fill: Floats | None,
    start: int,
    x_nd: NDArray[Any],
) -> None:
    """Write the encoded columns of a chunk into `x_nd`; `start` is the number of the chunk's first row."""
    column, taken = 0, {}
    for k, (feature, values) in enumerate(zip(card.features, arrays, strict=True)):
        fill_n = None if fill is None or not feature.fills else fill[..., k]
        if card.is_plain[k]:
            x_nd[:, column] = _encode_numbers(feature, values, fill_n, start)
            column += 1
            continue
        width = card.num_value_columns[k]
        value_nd = x_nd[:, column : column + width] if feature.main else np.empty((len(values), width))
        if feature.kind == "numeric":
            value_nd[:, 0] = _encode_numbers(feature, values, fill_n, start)
        elif feature.kind == "categorical":
            _write_levels(feature, values, start, value_nd)
        else:
            _write_parts(feature, _encode_numbers(feature, values, fill_n, start), start, value_nd, card.bias)
        column += width if feature.main else 0
        if feature.has_indicator:
            x_nd[:, column] = np.isnan(values)
            column += 1
        if card.terms:
            taken[feature.name] = value_nd
    if card.terms:
        write_terms(card, taken, start, x_nd[:, column:])


def _encode_numbers(feature: Feature, values: NDArray[np.generic], fill_n: Floats | None, start: int) -> NDArray[Any]:
    """Return the transformed values of a feature of numbers; `fill_n` (one value, or one a row) replaces missing ones.

    A transform is computed in float64; without a transform the precision stays.
    """
    raw_n = _numbers(feature, values, start)
    finite = np.isfinite(raw_n)
    if not finite.all():
        if fill_n is not None:
            raw_n = np.where(np.isnan(raw_n), fill_n, raw_n)
            finite = np.isfinite(raw_n)
        if not finite.all():
            row = int(np.argmin(finite))
            raise _error(feature, start + row, values[row], _why_not_finite(feature, float(raw_n[row])))
    if feature.transform is None:
        return raw_n
    domain = DOMAINS[feature.transform]
    raw_n = raw_n.astype(np.float64, copy=False)
    inside = domain.holds(raw_n)
    if not inside.all():
        row = int(np.argmin(inside))
        reason = f"is outside the domain of {feature.transform}, which is {domain}"
        raise _error(feature, start + row, values[row], reason)
    return domain.function(raw_n)


def _numbers(feature: Feature, values: NDArray[Any], start: int) -> NDArray[Any]:
    """Return the values as numbers. Raises EncodingError for a value of another type."""
    if values.dtype.kind in "fiub":
        return values
    numeric = (int, float, np.integer, np.floating)
    row = next((row for row, value in enumerate(values) if not isinstance(value, numeric)), None)
    if row is not None:
        raise _error(feature, start + row, values[row], "is not a number")
    return values.astype(np.float64)


def _why_not_finite(feature: Feature, value: float) -> str:
    if np.isinf(value):
        return "is infinite: give a finite number"
    if feature.fills:
        return f"is missing, and no training value was there to take a {_middle(feature)} of"
    what = "a date" if feature.kind == "datetime" else "a number"
    return f"is missing (NaN): give {what}, or train with `missing: mean`"


def _middle(feature: Feature) -> str:
    return "median" if feature.missing == "median" else "mean"


def _write_levels(feature: Feature, values: NDArray[np.generic], start: int, x_nd: NDArray[Any]) -> None:
    """Write a one into the column of each row's level; a reference level has no column."""
    position_n = np.fromiter(map(feature.level_position.get, values.tolist(), repeat(-1)), np.intp, len(values))
    other = feature.level_position.get(OTHER_LEVEL, -1) if feature.unseen == "other" else -1
    for row in np.flatnonzero(position_n < 0):
        value = values[row]
        missing = value is None and feature.missing == "level"
        if not isinstance(value, str) and not missing:
            raise _error(feature, start + int(row), value, "is not a level: give a string")
        if feature.unseen != "reference" and other < 0:
            raise _error(feature, start + int(row), value, _why_unseen(feature))
        position_n[row] = other
    _write_ones(position_n, len(feature.levels), x_nd)


def _write_ones(position_n: NDArray[np.intp], num_levels: int, x_nd: NDArray[Any]) -> None:
    """Write a one into the column of each row's level; none for the reference, and for -1."""
    column_n = position_n - (num_levels - x_nd.shape[1])
    rows = np.flatnonzero(column_n >= 0)
    x_nd[:] = 0.0
    x_nd[rows, column_n[rows]] = 1.0


def _write_parts(feature: Feature, days_n: Floats, start: int, x_nd: NDArray[Any], has_reference: bool) -> None:
    """Write the parts of dates: days since the origin, points on a circle, or a one for the level of each."""
    column = 0
    for part in feature.parts:
        if part == "days":
            x_nd[:, column] = days_n - feature.origin
            column += 1
        elif feature.cyclic and part == "year":
            x_nd[:, column] = part_of(part, days_n)
            column += 1
        elif feature.cyclic:
            x_nd[:, column], x_nd[:, column + 1] = circle_of(part, days_n)
            column += 2
        else:
            position_n, num_levels = _part_positions(feature, part, days_n, start)
            width = num_levels - has_reference
            _write_ones(position_n, num_levels, x_nd[:, column : column + width])
            column += width


def _part_positions(feature: Feature, part: DatePart, days_n: Floats, start: int) -> tuple[NDArray[np.intp], int]:
    """Return the position of each row's level among those of a part, -1 for an unseen one, and how many there are."""
    value_n, levels = part_of(part, days_n), np.array(values_of(part, feature.levels), np.int64)
    position_n = np.searchsorted(levels, value_n)
    unseen_n = (
        levels[np.minimum(position_n, len(levels) - 1)] != value_n if len(levels) else np.ones(len(value_n), bool)
    )
    if unseen_n.any() and feature.unseen != "reference":
        row = int(np.argmax(unseen_n))
        reason = f"has a {part}, {value_n[row]}, that training did not see: give another date"
        raise _error(feature, start + row, days_n[row], reason)
    position_n[unseen_n] = -1
    return position_n, len(levels)


def _why_unseen(feature: Feature) -> str:
    shown = ", ".join(map(repr, feature.levels[:10])) + (", …" if len(feature.levels) > 10 else "")
    return f"is a level that training did not see: give one of {shown}"


def _error(feature: Feature, row: int, value: object, reason: str) -> EncodingError:
    plain = value.item() if isinstance(value, np.generic) else value
    shown = shortened(repr(plain[:CUT] if isinstance(plain, str) else plain))
    message = f"feature {feature.name!r} has value {shown}, which {reason}"
    return EncodingError(message, feature=feature.name, row=row, value=plain)
