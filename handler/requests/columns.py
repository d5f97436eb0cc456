"""The values of instances, converted to one array for each feature by a model card.

Shapes: n rows of a request (instances) · k raw features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import PayloadError
from ..rows.cells import level_of, number_of
from ..rows.datetimes import days_of
from ..rows.model_card import Feature, ModelCard
from ..wording import shown
from .instances import Instances, Values

SPELLED = {truth: (word, word.title(), word.upper()) for truth, word in ((True, "true"), (False, "false"))}
DATE = "give a date as text, such as '2026-01-31' or '2026-01-31T13:00'"

Columns = dict[str, NDArray[np.generic]]


def columns_of(instances: Instances, card: ModelCard, positions: Sequence[int]) -> Columns:
    """Return one array for each feature of the card: float64 with NaN for a missing value, or `str` objects (or None).

    A datetime is given as ISO 8601 text, and is a number of days since 1970-01-01 UTC here.

    `positions` are the numbers of the instances in the request, for messages. Raises PayloadError, with instance and
    feature, for a value of the wrong type, a missing value that the card does not fill, an unknown name, or a wrong
    number of values.
    """
    raw = instances.raw_columns(card, positions)
    return {
        feature.name: READERS[feature.kind](feature, column, positions)
        for feature, column in zip(card.features, raw, strict=True)
    }


def _numbers(feature: Feature, column: Values, positions: Sequence[int]) -> NDArray[np.generic]:
    """Return the column as float64. Raises PayloadError for a value that is neither a number nor a string of one."""
    kinds = set(map(type, column))
    if kinds <= {float, int}:
        try:
            return np.array(column, np.float64)
        except OverflowError:
            pass  # an integer beyond float64: the loop below names it
    if kinds == {str}:
        number_n = _plain_numbers(column)  # type: ignore[arg-type]
        if number_n is not None and (feature.fills or not np.isnan(number_n).any()):
            return number_n
    return np.array(
        [
            _number_of_text(feature, value, position) if isinstance(value, str) else _number(feature, value, position)
            for value, position in zip(column, positions, strict=True)
        ],
        np.float64,
    )


def _number_of_text(feature: Feature, text: str, position: int) -> float:
    """Return the number in a text, as `_number` does, in half the time."""
    try:
        number = number_of(text)
    except ValueError:
        return _number(feature, text, position)
    return _number(feature, text, position) if math.isnan(number) and not feature.fills else number


def _plain_numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the numbers of texts that Python reads as `number_of` does, or None if some are others."""
    written = "".join(texts)
    if "_" in written or not written.isascii():
        return None
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None


def _number(feature: Feature, value: object, position: int) -> float:
    plain = value[0] if isinstance(value, list) and len(value) == 1 else value
    if plain is not None and not isinstance(plain, (int, float, str)):
        raise _misfit(feature, position, f"has value {shown(value)}: give a number")
    try:
        number = math.nan if plain is None else number_of(plain) if isinstance(plain, str) else float(plain)
    except (ValueError, OverflowError) as exc:
        raise _misfit(feature, position, f"has value {shown(value)}: give a number that float64 can hold") from exc
    if math.isnan(number) and not feature.fills:
        missing = "is missing" if plain is None else f"has value {shown(value)}, which is missing"
        raise _misfit(feature, position, f"{missing}: give a number")
    return number


def _dates(feature: Feature, column: Values, positions: Sequence[int]) -> NDArray[np.generic]:
    """Return the column as days since 1970-01-01 UTC. Raises PayloadError for a value that is not a date."""
    return np.array([_date(feature, value, at) for value, at in zip(column, positions, strict=True)], np.float64)


def _date(feature: Feature, value: object, position: int) -> float:
    plain = value[0] if isinstance(value, list) and len(value) == 1 else value
    if plain is not None and not isinstance(plain, str):
        raise _misfit(feature, position, f"has value {shown(value)}: {DATE}")
    try:
        days = math.nan if plain is None else days_of(plain)
    except ValueError as exc:
        raise _misfit(feature, position, f"has value {shown(value)}: {DATE}") from exc
    if math.isnan(days) and not feature.fills:
        raise _misfit(feature, position, f"is missing: {DATE}")
    return days


def _words(feature: Feature, column: Values, positions: Sequence[int]) -> NDArray[np.generic]:
    """Return the column as `str` objects; an integer becomes its digits, a missing value None if it is a level.

    A truth becomes the level that spells it. Raises PayloadError for other values.
    """
    words = np.empty(len(column), dtype=object)
    words[:] = [_word(feature, value, position) for value, position in zip(column, positions, strict=True)]
    return words


def _word(feature: Feature, value: object, position: int) -> str | None:
    plain = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(plain, str):
        return plain if plain in feature.level_position else level_of(plain)
    if isinstance(plain, bool):
        spelled = [level for level in SPELLED[plain] if level in feature.level_position]
        if len(spelled) == 1:
            return spelled[0]
    elif isinstance(plain, int):
        return str(plain)
    if plain is None and feature.missing == "level":
        return None
    if plain is None:
        raise _misfit(feature, position, "is missing: give one of its levels")
    raise _misfit(feature, position, f"has value {shown(value)}: give one of its levels, a string")


def _misfit(feature: Feature, position: int, reason: str) -> PayloadError:
    return PayloadError(f"instance {position}: feature {feature.name!r} {reason}")


READERS = {"numeric": _numbers, "categorical": _words, "datetime": _dates}
