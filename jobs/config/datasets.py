"""The `datasets` of a configuration: where a table is, what is regressed on what, and which rows validate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from jobs.config.features import Features
from jobs.config.reading_options import ReadingConfig
from jobs.config.values import WHOLE, Fraction, Location, Section, Seed, Text, items, nothing_for_none, refused


class ValidationConfig(Section):
    """Which rows validate: a fraction of them, or each in turn, by folds; by the seed and a row's content."""

    fraction: Fraction | None = None
    """The share of the rows that validates."""
    folds: Annotated[int, Field(ge=2), WHOLE] | None = None
    """The number of folds; each validates once."""
    seed: Seed = 0
    """Another seed, another split."""

    @model_validator(mode="after")
    def _one_rule(self) -> ValidationConfig:
        if (self.fraction is None) == (self.folds is None):
            raise refused("must hold either 'fraction' or 'folds': write {fraction: 0.2}, {folds: 5}, or none")
        return self


class DatasetConfig(ReadingConfig):
    """A table for which a regression is wanted; with `group_by`, one for each of its groups."""

    name: Text
    """The dataset's name in the collection."""
    source: Annotated[
        tuple[Location, ...], Field(min_length=1), BeforeValidator(items, json_schema_input_type=str | list[str])
    ]
    """A file, a folder or a pattern, or a list of them; local, or s3://BUCKET/PATH. A relative path is looked for
    beside the configuration file, then in the working directory."""
    target: Text
    """The column that is predicted."""
    target_transform: Literal["log", "log1p"] | None = None
    """A function applied to the target for training, and undone in predictions and their intervals."""
    missing_target: Literal["error", "drop"] | None = None
    """What an empty cell of the target is: an error, or its row is left out. Left out: an error where columns are
    named, `drop` where a pattern finds them."""
    features: Features
    """The columns that predict: `all`, or names, patterns, products and powers."""
    group_by: Annotated[tuple[Text, ...], BeforeValidator(items, json_schema_input_type=str | list[str])] = ()
    """The columns whose values divide the rows into datasets of their own."""
    prefix: Text | None = None
    """What the names of the groups begin with; a job whose sources have the same groups needs it: `sales/` makes
    `sales/17`."""
    validation: Annotated[
        ValidationConfig | None,
        BeforeValidator(nothing_for_none, json_schema_input_type=ValidationConfig | Literal["none"] | None),
    ] = None
    """Which rows validate; `none`: all of them train."""
    weights: Text | None = None
    """The column with the weight of each row, 0 or more; a row with weight 0 is not there."""
    weights_kind: Literal["precision", "frequency"] = "precision"
    """What weights say: how precise a row's target is, or how often the row was seen. Statistics differ by it."""

    @model_validator(mode="after")
    def _possible(self) -> DatasetConfig:
        names = [feature.name for feature in self.features]
        for at, name in enumerate(names):
            if name is not None and name in names[:at]:
                raise refused(f"names the feature {name!r} twice: remove one", key=f"features.{at}")
            if name == self.target:
                raise refused(f"names the target {name!r} as a feature: remove it", key=f"features.{at}")
        for at, name in enumerate(self.group_by):
            if name in (*names, self.target, *self.group_by[:at]):
                raise refused(f"names {name!r}, which has another use here: remove one of them", key="group_by")
        if self.prefix is not None and not self.group_by:
            raise refused("has no effect without 'group_by': remove it, or write it into 'name'", key="prefix")
        if self.weights is not None and self.weights in (*names, self.target, *self.group_by):
            raise refused(f"names {self.weights!r}, which has another use here: remove one of them", key="weights")
        if self.weights is None and "weights_kind" in self.model_fields_set:
            raise refused("has no effect without 'weights': name the column of the weights", key="weights_kind")
        return self
