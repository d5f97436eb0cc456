"""The instances of a request, as rows or as named columns, and their conversion to arrays by a model card.

Shapes: n rows of a request (instances) · k raw features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import PayloadError
from ..rows.cells import level_of, number_of
from ..rows.datetimes import days_of
from ..rows.model_card import Feature, ModelCard
from ..wording import listed, nearest, shown

DATASET = "dataset"
DATE = "give a date as text, such as '2026-01-31' or '2026-01-31T13:00'"

Columns = dict[str, NDArray[np.generic]]
Values = Sequence[object]


@dataclass(frozen=True)
class Rows:
    """Instances from JSON: each is a list in feature order, or an object of named values."""

    values: list[object]

    def __len__(self) -> int:
        return len(self.values)

    def datasets(self) -> list[object] | None:
        """Return the dataset that each instance names, None for one that names none; None if no instance names one."""
        if not isinstance(self.values[0], dict):
            return None
        named = [value.get(DATASET) if isinstance(value, dict) else None for value in self.values]
        return named if any(name is not None for name in named) else None

    def take(self, positions: Iterable[int]) -> Rows:
        """Return the instances at these positions."""
        return Rows([self.values[position] for position in positions])

    def raw_columns(self, card: ModelCard, positions: Sequence[int], skip_dataset: bool) -> list[Values]:
        """Return the k columns unconverted, None for an absent value. Raises PayloadError, see `columns_of`."""
        kinds = set(map(type, self.values))
        if kinds == {list}:
            return _columns_of_lists(self.values, card, positions)  # type: ignore[arg-type]
        if kinds == {dict}:
            return _columns_of_objects(self.values, card, positions, skip_dataset)  # type: ignore[arg-type]
        expected = dict if isinstance(self.values[0], dict) else list
        row = next((row for row, value in enumerate(self.values) if not isinstance(value, expected)), 0)
        raise PayloadError(
            f"instance {positions[row]} is {shown(self.values[row])}: give each instance as a list in the order "
            f"{listed(card.feature_names)}, or each as an object with these names"
        )


@dataclass(frozen=True)
class Table:
    """Instances as columns with these names, or in feature order if `names` is None."""

    names: tuple[str, ...] | None
    columns: tuple[Values, ...]
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows

    def datasets(self) -> list[object] | None:
        """Return the column of datasets, or None if there is none."""
        return list(self.columns[self.names.index(DATASET)]) if self.names and DATASET in self.names else None

    def take(self, positions: Iterable[int]) -> Table:
        """Return the instances at these positions."""
        rows = list(positions)
        return Table(self.names, tuple([column[row] for row in rows] for column in self.columns), len(rows))

    def raw_columns(self, card: ModelCard, positions: Sequence[int], skip_dataset: bool) -> list[Values]:
        """Return the k columns unconverted. Raises PayloadError if the names or their number do not fit the card."""
        if self.names is None:
            if len(self.columns) != len(card.features):
                names = listed(card.feature_names)
                raise PayloadError(f"the instances have {len(self.columns)} values each: give {names}, in this order")
            return list(self.columns)
        allowed = {*card.feature_names, DATASET} if skip_dataset else {*card.feature_names}
        unknown = [name for name in self.names if name not in allowed]
        if unknown:
            raise PayloadError(_unknown(unknown[0], card.feature_names))
        named = dict(zip(self.names, self.columns, strict=True))
        absent: Values = [None] * self.num_rows
        return [named.get(name, absent) for name in card.feature_names]


Instances = Rows | Table


def columns_of(instances: Instances, card: ModelCard, positions: Sequence[int], skip_dataset: bool) -> Columns:
    """Return one array for each feature of the card: float64 with NaN for a missing value, or `str` objects (or None).

    A datetime is given as ISO 8601 text, and is a number of days since 1970-01-01 UTC here.

    `positions` are the numbers of the instances in the request, for messages; with `skip_dataset` the name `dataset` is
    not a feature. Raises PayloadError, with instance and feature, for a value of the wrong type, a missing value that
    the card does not fill, an unknown name, or a wrong number of values.
    """
    raw = instances.raw_columns(card, positions, skip_dataset)
    return {
        feature.name: READERS[feature.kind](feature, column, positions)
        for feature, column in zip(card.features, raw, strict=True)
    }


def _columns_of_lists(rows: list[list[object]], card: ModelCard, positions: Sequence[int]) -> list[Values]:
    width = len(card.features)
    if set(map(len, rows)) != {width}:
        row = next(row for row, values in enumerate(rows) if len(values) != width)
        names = listed(card.feature_names)
        raise PayloadError(f"instance {positions[row]} has {len(rows[row])} values: give {width}, in the order {names}")
    return list(zip(*rows, strict=True))


def _columns_of_objects(
    rows: list[dict[str, object]], card: ModelCard, positions: Sequence[int], skip_dataset: bool
) -> list[Values]:
    names = card.feature_names
    try:
        columns: list[Values] = [[row[name] for row in rows] for name in names]
        complete = sum(map(len, rows)) == len(rows) * len(names)
    except KeyError:
        columns = [[row.get(name) for row in rows] for name in names]
        complete = False
    if not complete:
        allowed = {*names, DATASET} if skip_dataset else {*names}
        unknown = next(
            ((at, name) for at, row in zip(positions, rows, strict=True) for name in row if name not in allowed), None
        )
        if unknown:
            position, name = unknown
            raise PayloadError(f"instance {position}: {_unknown(name, names)}")
    return columns


def _unknown(name: str, names: Sequence[str]) -> str:
    near = nearest(name, names)
    meant = "" if near is None else f": did you mean {near!r}?"
    return f"feature {shown(name)} is not known: the features are {listed(names)}{meant}"


def _numbers(feature: Feature, column: Values, positions: Sequence[int]) -> NDArray[np.generic]:
    """Return the column as float64. Raises PayloadError for a value that is neither a number nor a string of one."""
    if set(map(type, column)) <= {float, int}:
        try:
            return np.array(column, np.float64)
        except OverflowError:
            pass  # an integer beyond float64: the loop below names it
    return np.array(
        [_number(feature, value, position) for value, position in zip(column, positions, strict=True)], np.float64
    )


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

    Raises PayloadError for other values.
    """
    words = np.empty(len(column), dtype=object)
    words[:] = [_word(feature, value, position) for value, position in zip(column, positions, strict=True)]
    return words


def _word(feature: Feature, value: object, position: int) -> str | None:
    plain = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(plain, str):
        return plain if plain in feature.level_position else level_of(plain)
    if isinstance(plain, int) and not isinstance(plain, bool):
        return str(plain)
    if plain is None and feature.missing == "level":
        return None
    if plain is None:
        raise _misfit(feature, position, "is missing: give one of its levels")
    raise _misfit(feature, position, f"has value {shown(value)}: give one of its levels, a string")


def _misfit(feature: Feature, position: int, reason: str) -> PayloadError:
    return PayloadError(f"instance {position}: feature {feature.name!r} {reason}")


READERS = {"numeric": _numbers, "categorical": _words, "datetime": _dates}
