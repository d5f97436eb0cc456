"""The model card: what turns a raw row into the d numbers that a weight vector expects.

It is the same for every model of a stack, and travels with each checkpoint and archive, so that training and
serving can't disagree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from .errors import ModelCardError

FORMAT = 1

Kind = Literal["numeric", "categorical"]
Transform = Literal["log10", "log1p", "sqrt"]
Missing = Literal["error", "mean"]
Unseen = Literal["error", "reference"]


@dataclass(frozen=True)
class Feature:
    """A raw column and the rule that encodes it.

    `levels` are the values of a categorical feature in sorted order; the first is the reference, which encodes to
    zeros, when the model has a bias. `unseen` says what a level that training did not see does: it is an error, or it
    counts as the reference. `missing` says what an absent or NaN value of a numeric feature does: it is an error, or
    the mean of the training rows (raw units) takes its place.
    """

    name: str
    kind: Kind = "numeric"
    transform: Transform | None = None
    missing: Missing = "error"
    levels: tuple[str, ...] = ()
    unseen: Unseen = "error"

    def encoded_levels(self, has_reference: bool) -> tuple[str, ...]:
        """Return the levels that have a column of their own."""
        return self.levels[1:] if has_reference else self.levels

    @cached_property
    def level_position(self) -> Mapping[str, int]:
        """The position of each level in `levels`: a look-up in constant time."""
        return {level: position for position, level in enumerate(self.levels)}

    def num_columns(self, has_reference: bool) -> int:
        """Return the number of encoded columns."""
        return 1 if self.kind == "numeric" else len(self.levels) - has_reference


@dataclass(frozen=True)
class ModelCard:
    """The target, the features in order, and whether the model has a bias."""

    target: str
    features: tuple[Feature, ...]
    bias: bool = True

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The k raw columns, in the order in which a row given as a list holds them."""
        return tuple(feature.name for feature in self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """The d encoded columns: a numeric feature's own name, `name=level` for each level of a categorical one."""
        return tuple(
            column
            for feature in self.features
            for column in (
                (feature.name,)
                if feature.kind == "numeric"
                else tuple(f"{feature.name}={level}" for level in feature.encoded_levels(self.bias))
            )
        )

    def coefficients(self, weight_d: Sequence[float], bias: float | None) -> dict[str, float]:
        """Return weights in raw units by the names of their encoded columns, after `intercept` if there is a bias."""
        intercept = {} if bias is None else {"intercept": float(bias)}
        return intercept | dict(zip(self.columns, weight_d, strict=True))

    @cached_property
    def num_columns(self) -> int:
        """The number d of encoded columns."""
        return sum(feature.num_columns(self.bias) for feature in self.features)

    @cached_property
    def fills(self) -> bool:
        """Whether a missing value of some feature is filled."""
        return any(feature.missing == "mean" for feature in self.features)

    def to_json(self) -> str:
        """Return the card as JSON; equal cards give equal text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, ensure_ascii=False)

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
            features = tuple(
                Feature(**{**feature, "levels": tuple(feature["levels"])}) for feature in fields["features"]
            )
            return cls(target=fields["target"], features=features, bias=fields["bias"])
        except (KeyError, TypeError, json.JSONDecodeError) as exc:
            raise ModelCardError(f"the model card is not valid: {exc}") from exc
