"""The model card: the rules that turn a raw row into the d numbers for a weight vector.

All models of a stack share it. Each checkpoint and archive contains it, so training and serving use the same rules.

Shapes: d encoded columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, Literal

from ..errors import ModelCardError
from .date_parts import DatePart, level_of, values_of
from .transforms import TargetTransform, Transform

FORMAT = 2
FIRST_FORMAT = 1  # a card that uses nothing new keeps its bytes: they enter the sha256 of checkpoints

Kind = Literal["numeric", "categorical", "datetime"]
Missing = Literal["error", "mean", "median", "indicator", "level", "drop"]
Unseen = Literal["error", "reference", "other"]

FILLED = ("mean", "median", "indicator")
MISSING_LEVEL = "(missing)"
OTHER_LEVEL = "(other)"
NEW_OF_FEATURE = {"parts", "cyclic", "origin", "main"}
NEW_OF_CARD = {"terms", "target_transform"}
NEW_WORDS = {"datetime", "median", "indicator", "level", "drop", "other", "log"}


@dataclass(frozen=True)
class Feature:
    """A raw column and the rule that encodes it.

    `levels` are the values of a categorical feature in sorted order. If the model has a bias, the first level is the
    reference and is encoded as zeros. `unseen`: a level that training did not see is an error, or counts as the
    reference, or as the level "(other)", which has the rare ones. `missing`: an absent or NaN value of a numeric
    feature is an error (`error`, `drop`), or is replaced by the mean or the median of the training rows (raw units);
    `indicator` adds a column that is 1 where it was missing. Of a categorical one it is the level "(missing)".
    A datetime is a number of days since `origin`, or has the `parts` that are named: `levels` has those of all parts,
    and with `cyclic` a part is a point on a circle. A feature that is not `main` has no column of its own: only terms
    take it.
    """

    name: str
    kind: Kind = "numeric"
    transform: Transform | None = None
    missing: Missing = "error"
    levels: tuple[str, ...] = ()
    unseen: Unseen = "error"
    parts: tuple[DatePart, ...] = ()
    cyclic: bool = False
    origin: float = 0.0
    main: bool = True

    @cached_property
    def level_position(self) -> Mapping[str | None, int]:
        """The position of each level in `levels`, for lookups in constant time; None is a missing value."""
        positions: dict[str | None, int] = {level: position for position, level in enumerate(self.levels)}
        if self.missing == "level" and MISSING_LEVEL in positions:
            positions[None] = positions[MISSING_LEVEL]
        return positions

    @property
    def level_columns(self) -> tuple[tuple[str, str], ...]:
        """Each level with the name of its column, which only rows of the level have."""
        joint = "=" if self.kind == "categorical" else "."
        return tuple((level, f"{self.name}{joint}{level}") for level in self.levels)

    @property
    def fills(self) -> bool:
        """Whether missing values are replaced by a number."""
        return self.missing in FILLED

    @property
    def has_indicator(self) -> bool:
        return self.missing == "indicator"

    @property
    def indicator(self) -> str:
        """The name of the column that is 1 where a value was missing."""
        return f"{self.name}_missing"

    def values_columns(self, has_reference: bool) -> tuple[str, ...]:
        """Return the encoded columns of the values, which terms multiply: without that of missing ones."""
        if self.kind == "numeric":
            return (self.name,)
        if self.kind == "categorical":
            return tuple(f"{self.name}={level}" for level in self.levels[has_reference:])
        return tuple(f"{self.name}{end}" for part in self.parts for end in self._part_columns(part, has_reference))

    def columns(self, has_reference: bool) -> tuple[str, ...]:
        """Return the encoded columns that the feature has of its own."""
        values = self.values_columns(has_reference) if self.main else ()
        return (*values, self.indicator) if self.has_indicator else values

    def num_columns(self, has_reference: bool) -> int:
        """Return the number of encoded columns."""
        if self.kind == "categorical" and self.main:
            return len(self.levels) - has_reference
        return len(self.columns(has_reference))

    def _part_columns(self, part: DatePart, has_reference: bool) -> tuple[str, ...]:
        if part == "days":
            return ("",)
        if self.cyclic:
            return (".year",) if part == "year" else (f".{part}.sin", f".{part}.cos")
        return tuple(f".{level_of(part, value)}" for value in values_of(part, self.levels)[has_reference:])


@dataclass(frozen=True)
class Factor:
    """A feature in a term, and its power."""

    feature: str
    power: int = 1

    def __str__(self) -> str:
        return self.feature if self.power == 1 else f"{self.feature}^{self.power}"


@dataclass(frozen=True)
class Term:
    """A product of encoded columns: `a:b` has one for each pair of columns of a and b, `a^2` is a times a."""

    factors: tuple[Factor, ...]

    def __str__(self) -> str:
        return ":".join(map(str, self.factors))


@dataclass(frozen=True)
class ModelCard:
    """The target, the features in order, and whether the model has a bias; the terms stand after the features.

    With `target_transform` the model predicts the transformed target, and serving transforms predictions back.
    `group_by` are the columns whose values name the dataset of a row, after `group_prefix`; cards that differ in these
    alone are equal.
    """

    target: str
    features: tuple[Feature, ...]
    bias: bool = True
    group_by: tuple[str, ...] = field(default=(), compare=False)
    group_prefix: str = field(default="", compare=False)
    terms: tuple[Term, ...] = ()
    target_transform: TargetTransform | None = None

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The k raw columns, in the order of a row that is given as a list."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The d encoded columns: the name of a numeric feature, `name=level` for each level of a categorical one."""
        own = (column for feature in self.features for column in feature.columns(self.bias))
        return (*own, *(column for term in self.terms for column in self.term_columns(term)))

    def feature(self, name: str) -> Feature:
        """Return the feature of this name."""
        return self.features[self.feature_names.index(name)]

    def term_columns(self, term: Term) -> tuple[str, ...]:
        """Return the encoded columns of a term: a product for each choice of one column of every factor."""
        columns = (
            [f"{column}^{factor.power}" if factor.power > 1 else column for column in self._factor_columns(factor)]
            for factor in term.factors
        )
        return tuple(map(":".join, product(*columns)))

    def _factor_columns(self, factor: Factor) -> tuple[str, ...]:
        return self.feature(factor.feature).values_columns(self.bias)

    def coefficients(self, weight_d: Sequence[float], bias: float | None) -> dict[str, float]:
        """Return weights in raw units by the names of their encoded columns, after `intercept` if there is a bias."""
        intercept = {} if bias is None else {"intercept": float(bias)}
        return intercept | dict(zip(self.columns, weight_d, strict=True))

    @cached_property
    def num_columns(self) -> int:
        """The number d of encoded columns."""
        return len(self.columns)

    @cached_property
    def num_value_columns(self) -> tuple[int, ...]:
        """The number of encoded columns of the values of each feature, whether they stand alone or in terms."""
        return tuple(len(feature.values_columns(self.bias)) for feature in self.features)

    @cached_property
    def is_plain(self) -> tuple[bool, ...]:
        """Which features are one column of numbers, and nothing else: most are, and their encoding is short."""
        return tuple(
            not self.terms and feature.kind == "numeric" and feature.main and not feature.has_indicator
            for feature in self.features
        )

    @cached_property
    def fills(self) -> bool:
        """Whether some feature fills missing values."""
        return any(feature.fills for feature in self.features)

    @property
    def is_of_first_format(self) -> bool:
        """Whether the card says nothing that the first format could not say."""
        new = any(f.parts or f.cyclic or f.origin or not f.main or NEW_WORDS & {*_words(f)} for f in self.features)
        return not (new or self.terms or self.target_transform)

    def to_json(self) -> str:
        """Return the card as JSON; equal cards give equal text."""
        fields, first = asdict(self), self.is_of_first_format
        for name in ("group_by", "group_prefix"):
            if not fields[name]:
                del fields[name]
        if first:
            fields = {name: value for name, value in fields.items() if name not in NEW_OF_CARD}
            fields["features"] = [
                {name: value for name, value in feature.items() if name not in NEW_OF_FEATURE}
                for feature in fields["features"]
            ]
        version = FIRST_FORMAT if first else FORMAT
        return json.dumps({"format": version, **fields}, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Return the card that `to_json` wrote. Raises ModelCardError if it is not one, or of a newer format."""
        try:
            fields: Mapping[str, Any] = json.loads(text)
            if fields["format"] > FORMAT:
                raise ModelCardError(
                    f"the model card has format {fields['format']}, and this gridline reads up to {FORMAT}: "
                    "upgrade gridline"
                )
            return cls(
                target=fields["target"],
                features=tuple(map(_feature, fields["features"])),
                bias=fields["bias"],
                group_by=tuple(fields.get("group_by", ())),
                group_prefix=fields.get("group_prefix", ""),
                terms=tuple(map(_term, fields.get("terms", ()))),
                target_transform=fields.get("target_transform"),
            )
        except (KeyError, TypeError, json.JSONDecodeError) as exc:
            raise ModelCardError(f"the model card is not valid: {exc}") from exc


def _words(feature: Feature) -> tuple[str | None, ...]:
    return feature.kind, feature.missing, feature.unseen, feature.transform


def _feature(fields: Mapping[str, Any]) -> Feature:
    return Feature(**{**fields, "levels": tuple(fields["levels"]), "parts": tuple(fields.get("parts", ()))})


def _term(fields: Mapping[str, Any]) -> Term:
    return Term(tuple(Factor(**factor) for factor in fields["factors"]))
