"""The `features` of a dataset: columns by name, by pattern or by kind, products of them, and how each is encoded."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from handler.rows.datetimes import days_of
from jobs.config.values import WHOLE, Flag, Section, Text, items, refused

Kind = Literal["numeric", "categorical", "datetime"]
WILD = re.compile(r"[*?]")
ALL = "all"
OF_NUMBERS = ("mean", "median", "indicator")
FOR = {"transform": "numeric", "unseen": "categorical", "min_count": "categorical"}
FOR |= {"parts": "datetime", "cyclic": "datetime", "origin": "datetime"}


class FeatureConfig(Section):
    """Columns that predict, and how they are encoded. A name alone stands for a numeric feature.

    A pattern stands for the columns that match it, each by its kind; an option is for the columns of kinds that have
    it. `a:b` is a product of columns, `a^2` a power.
    """

    name: Text | None = None
    """The column; a pattern (`x*`, `?`), or `all`; a product (`a:b`) or a power (`a^2`); after `!` columns to leave
    out of patterns."""
    all: Kind | None = None
    """Instead of a name: all columns of this kind."""
    kind: Literal["auto", "numeric", "categorical", "datetime"] | None = None
    """How the column is encoded; `auto` goes by its cells. Left out: `numeric` for a name, `auto` for a pattern."""
    transform: Literal["log10", "log1p", "sqrt", "log"] | None = None
    """A function applied to a numeric feature, in training and in serving."""
    missing: Literal["error", "mean", "median", "indicator", "level", "drop"] | None = None
    """What an empty cell is. Left out: an error for a name; for a pattern the mean, or a level of its own."""
    unseen: Literal["error", "reference"] = "error"
    """What a level is that training did not see: an error, or the reference (the first level)."""
    min_count: Annotated[int, Field(ge=1), WHOLE] | None = None
    """Levels with fewer rows are one level, `(other)`, and so are levels that training did not see."""
    parts: Annotated[
        tuple[Literal["days", "year", "month", "weekday", "hour"], ...],
        Field(min_length=1),
        BeforeValidator(items, json_schema_input_type=str | list[str]),
    ] = ("days",)
    """The columns of a datetime."""
    cyclic: Flag = False
    """Whether month, weekday and hour are points on a circle, not levels."""
    origin: Text | None = None
    """The date from which days are counted; left out, the first day of the rows that train."""

    @property
    def is_pattern(self) -> bool:
        """Whether the columns are found by a pattern or by their kind."""
        return self.name is None or self.name == ALL or WILD.search(self.name) is not None

    @property
    def excludes(self) -> bool:
        """Whether the columns are left out."""
        return self.name is not None and self.name.startswith("!")

    @property
    def stated_kind(self) -> str:
        """The kind of the columns, or `auto`."""
        return self.kind or self.all or ("auto" if self.is_pattern else "numeric")

    @model_validator(mode="after")
    def _possible(self) -> FeatureConfig:
        if (self.name is None) == (self.all is None):
            raise refused("must hold either 'name' or 'all': write {name: area}, or {all: numeric}")
        if self.all is not None and self.kind not in (None, "auto", self.all):
            raise refused(f"is not that of 'all: {self.all}': remove one of them", key="kind")
        if self.excludes and self.model_fields_set != {"name"}:
            raise refused("leaves columns out, so it has no options: remove them", key="name")
        kind = self.stated_kind
        for key in () if kind == "auto" else sorted(FOR.keys() & self.model_fields_set):
            if kind != FOR[key] and getattr(self, key) is not None:
                raise refused(f"applies to {FOR[key]} features only: remove it, or set 'kind: {FOR[key]}'", key=key)
        if (kind == "categorical" and self.missing in OF_NUMBERS) or (
            kind in ("numeric", "datetime") and self.missing == "level"
        ):
            remedy = "level, drop or error" if kind == "categorical" else "mean, median, indicator, drop or error"
            raise refused(f"can't be applied to a {kind} feature: write {remedy}", key="missing")
        if kind == "datetime" and self.missing in OF_NUMBERS and not self.cyclic and self.parts != ("days",):
            raise refused("gives a date whose parts are no level: write drop or error", key="missing")
        if self.origin is not None:
            _check_origin(self.origin)
        return self


def _check_origin(origin: str) -> None:
    try:
        found = days_of(origin)
    except ValueError:
        found = math.nan
    if math.isnan(found):
        raise refused("is not a date: write one in quotes, such as '2026-01-31'", key="origin")


def feature(value: Any) -> Any:
    """Return the section for a column that was written as a name."""
    return {"name": value} if isinstance(value, str) else value


def features(value: Any) -> Any:
    """Return a list where `all`, or one pattern, was written."""
    return [value] if isinstance(value, str) and (value == ALL or WILD.search(value)) else value


Features = Annotated[
    tuple[Annotated[FeatureConfig, BeforeValidator(feature, json_schema_input_type=str | FeatureConfig)], ...],
    Field(min_length=1),
    BeforeValidator(features, json_schema_input_type=str | list[str | FeatureConfig]),
]
