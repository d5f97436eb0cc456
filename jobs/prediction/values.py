"""The cells of a batch of rows as values of features, by the rules of training; a cell that is no value is marked.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from handler.rows.cells import TRUTHS, number_of
from handler.rows.datetimes import days_of
from handler.rows.model_card import Feature
from handler.wording import listed, nearest
from jobs.errors import DataError
from jobs.sources.cells import shown
from jobs.sources.columns import Array, Columns, Text, Wanted
from jobs.sources.conversions import days_of_column, is_text, levels_of, numbers_of_text, text_of
from jobs.sources.parquet import check_type, numbers_of
from jobs.sources.read_options import ReadOptions
from model_store.objects.s3_settings import S3Settings

if TYPE_CHECKING:
    from jobs.prediction.input import Input

SEPARATORS: dict[str, dict[str, str]] = {
    "--decimal ,": {"decimal": ","},
    "--thousands ,": {"thousands": ","},
    "--decimal , --thousands .": {"decimal": ",", "thousands": "."},
    "--thousands ' '": {"thousands": " "},
}
KEPT = ("error", "drop")  # the rules by which a missing value of a feature is refused


@dataclass(frozen=True)
class Values:
    """The values of a feature: float64 with NaN, or `str` objects with None; `bad_n` marks cells that are none."""

    value_n: Array
    bad_n: NDArray[np.bool_]


@dataclass(frozen=True)
class Typed:
    """The values of the features of a card in a batch, and the reason of each row with a cell that is none."""

    values: Mapping[str, Array]
    reasons: Mapping[int, str]


@dataclass
class Batch:
    """Consecutive rows of an input, as `columns.raws` has them."""

    columns: Columns
    rows: Input
    cache: dict[tuple[str, str], Values] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return self.columns.num_rows

    @property
    def options(self) -> ReadOptions:
        return self.rows.reading.options

    def text(self, name: str) -> Text:
        """Return a column as text, as training reads the columns of a key."""
        return text_of(self._raw(name, "text"), self.options.marks(name, "text"))

    def error(self, row: int, reason: str) -> DataError:
        """Return the error of a row, with its place: file and line, or file and row."""
        name = next(iter(self.columns.raws))
        place, _ = self.columns.fragment.format.cell(self.columns, row, name, S3Settings())
        return DataError(f"{place.replace(self.rows.path, self.rows.location)}: {reason}")

    def values(self, feature: Feature) -> Values:
        """Return the values of a feature. Raises DataError if its column is of a type that can't have them."""
        key = (feature.name, feature.kind)
        if key not in self.cache:
            self.cache[key] = self._values(*key)
        return self.cache[key]

    def typed(self, features: Sequence[Feature]) -> Typed:
        """Return the values of these features. Raises DataError if the file lacks one, and may not."""
        values: dict[str, Array] = {}
        reasons: dict[int, str] = {}
        for feature in features:
            if feature.name not in self.columns.raws:
                _require(self.rows, feature)
                self.rows.lacked.add(feature.name)
                values[feature.name] = _nothing(feature, self.num_rows)
                continue
            found = self.values(feature)
            values[feature.name] = found.value_n
            for row in np.flatnonzero(found.bad_n).tolist():
                cell = self.columns.raws[feature.name][row].as_py()
                reasons.setdefault(row, f"column {feature.name!r}: {shown(cell)} {_why(cell, feature)}")
        return Typed(values, reasons)

    def _raw(self, name: str, kind: Any) -> Any:
        raw = self.columns.raws[name]
        if not is_text(raw.type):
            check_type(self.columns.fragment.location, Wanted(name, kind), raw.type)
        return raw

    def _values(self, name: str, kind: str) -> Values:
        if kind == "categorical":
            return _good(self.text(name).cells())
        wanted = "datetime" if kind == "datetime" else "number"
        raw, marks = self._raw(name, wanted), self.options.marks(name, wanted)
        if wanted == "datetime" and not is_text(raw.type):
            return _good(days_of_column(raw, marks))
        if not is_text(raw.type):
            number_n, named = numbers_of(raw).astype(np.float64), self.options.numeric_marks(name)
            return _good(np.where(np.isin(number_n, named), np.nan, number_n) if named else number_n)
        if wanted == "datetime":
            return _by_level(raw, partial(days_of, marks=marks))
        return _numbers(raw, marks, self.options)


def _require(rows: Input, feature: Feature) -> None:
    """Raise DataError for a feature whose column a file lacks, unless it may lack it and the model fills it."""
    fills = feature.missing not in KEPT
    if fills and rows.reading.may_lack:
        return
    near = nearest(feature.name, rows.names)
    remedy = "add it" if near is None else f"did you mean {near!r}? Rename it"
    if fills:
        remedy += ", or set --allow-missing-columns, which fills it in every row"
    place = f"{rows.location}: column {feature.name!r}, a feature, is missing"
    raise DataError(f"{place}; found {listed(rows.names)}: {remedy}")


def _why(cell: str, feature: Feature) -> str:
    """Return why a text is no value, with the option that would read it."""
    if feature.kind == "datetime":
        return "is not a date: write it as 2024-01-31 or 2024-01-31T12:30:00"
    if cell.strip() in TRUTHS:
        return "is among numbers: set --na-values if it stands for a missing value"
    for option, separators in SEPARATORS.items():
        with suppress(ValueError):
            number_of(cell, **separators)
            return f"is not a number: set {option}"
    return "is not a number"


def _nothing(feature: Feature, num_rows: int) -> Array:
    return np.full(num_rows, None, dtype=object) if feature.kind == "categorical" else np.full(num_rows, np.nan)


def _good(value_n: Array) -> Values:
    return Values(value_n, np.zeros(len(value_n), dtype=bool))


def _numbers(raw: Any, marks: frozenset[str], options: ReadOptions) -> Values:
    """Return a column of text as numbers: as training reads it, or cell by cell where it would refuse one."""
    with suppress(ValueError):
        return _good(numbers_of_text(raw, marks, options)[0])
    found = _by_level(raw, partial(number_of, marks=marks, decimal=options.decimal, thousands=options.thousands))
    other_n = ~np.isin(found.value_n, (0.0, 1.0)) & ~np.isnan(found.value_n)
    if other_n.any():  # "no" among prices is no price
        truths = pc.is_in(pc.utf8_trim_whitespace(raw), value_set=pa.array(TRUTHS, raw.type))
        found.bad_n[truths.to_numpy(zero_copy_only=False)] = True
    return found


def _by_level(raw: Any, convert: Callable[[str], float]) -> Values:
    """Return the value of each cell; a text that `convert` refuses is bad."""
    code_n, texts = levels_of(raw)
    value = np.full(len(texts) + 1, np.nan)
    bad = np.zeros(len(texts) + 1, dtype=bool)
    for at, text in enumerate(texts):
        try:
            value[at] = np.nan if text is None else convert(text)
        except ValueError:
            bad[at] = True
    return Values(value[code_n], bad[code_n])
