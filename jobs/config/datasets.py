"""The `datasets` of a configuration: where a table is, what is regressed on what, and which rows validate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from jobs.config.reading_options import ReadingConfig
from jobs.config.values import WHOLE, Fraction, Location, Section, Seed, Text, items, nothing_for_none, refused


class FeatureConfig(Section):
    """A column that is regressed on, and how it is encoded. A name alone stands for a numeric feature."""

    name: Text
    """The column."""
    kind: Literal["numeric", "categorical"] = "numeric"
    """A categorical feature has a weight for each of its levels, but for the first (in sorted order) where there is a
    bias."""
    transform: Literal["log10", "log1p", "sqrt"] | None = None
    """A function applied to a numeric feature, in training and in serving."""
    missing: Literal["error", "mean"] = "error"
    """What an empty cell of a numeric feature is: an error, or the mean of the training rows."""
    unseen: Literal["error", "reference"] = "error"
    """What a level is that training did not see: an error, or the reference (the first level)."""

    @model_validator(mode="after")
    def _possible(self) -> FeatureConfig:
        if self.kind == "categorical" and self.transform is not None:
            raise refused("can't be applied to a categorical feature: remove it", key="transform")
        if self.kind == "categorical" and self.missing == "mean":
            raise refused("can't be applied to a categorical feature: remove it", key="missing")
        if self.kind == "numeric" and self.unseen == "reference":
            raise refused("applies to categorical features only: remove it, or set 'kind: categorical'", key="unseen")
        return self


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


def _feature(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


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
    features: Annotated[
        tuple[Annotated[FeatureConfig, BeforeValidator(_feature, json_schema_input_type=str | FeatureConfig)], ...],
        Field(min_length=1),
    ]
    """The columns that are regressed on."""
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

    @model_validator(mode="after")
    def _possible(self) -> DatasetConfig:
        names = [feature.name for feature in self.features]
        for at, name in enumerate(names):
            if name in names[:at]:
                raise refused(f"names the feature {name!r} twice: remove one", key=f"features.{at}")
            if name == self.target:
                raise refused(f"names the target {name!r} as a feature: remove it", key=f"features.{at}")
        for at, name in enumerate(self.group_by):
            if name in (*names, self.target, *self.group_by[:at]):
                raise refused(f"names {name!r}, which has another use here: remove one of them", key="group_by")
        if self.prefix is not None and not self.group_by:
            raise refused("has no effect without 'group_by': remove it, or write it into 'name'", key="prefix")
        return self
