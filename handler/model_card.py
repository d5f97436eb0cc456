"""The model card: the rules that turn a raw row into the d numbers for a weight vector.

All models of a stack share it. Each checkpoint and archive contains it, so training and serving use the same rules.

Shapes: d encoded columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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

    `levels` are the values of a categorical feature in sorted order. If the model has a bias, the first level is the
    reference and is encoded as zeros. `unseen`: a level that training did not see is an error, or counts as the
    reference. `missing`: an absent or NaN value of a numeric feature is an error, or is replaced by the mean of the
    training rows (raw units).
    """

    name: str
    kind: Kind = "numeric"
    transform: Transform | None = None
    missing: Missing = "error"
    levels: tuple[str, ...] = ()
    unseen: Unseen = "error"

    @cached_property
    def level_position(self) -> Mapping[str, int]:
        """The position of each level in `levels`, for lookups in constant time."""
        return {level: position for position, level in enumerate(self.levels)}

    def num_columns(self, has_reference: bool) -> int:
        """Return the number of encoded columns."""
        return 1 if self.kind == "numeric" else len(self.levels) - has_reference


@dataclass(frozen=True)
class ModelCard:
    """The target, the features in order, and whether the model has a bias.

    `group_by` are the columns whose values name the dataset of a row; cards that differ in them alone are equal.
    """

    target: str
    features: tuple[Feature, ...]
    bias: bool = True
    group_by: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The k raw columns, in the order of a row that is given as a list."""
        return tuple(feature.name for feature in self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """The d encoded columns: the name of a numeric feature, `name=level` for each level of a categorical one."""
        columns: list[str] = []
        for feature in self.features:
            encoded = feature.levels[1:] if self.bias else feature.levels
            levels = [f"{feature.name}={level}" for level in encoded]
            columns += [feature.name] if feature.kind == "numeric" else levels
        return tuple(columns)

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
        """Whether some feature fills missing values."""
        return any(feature.missing == "mean" for feature in self.features)

    def to_json(self) -> str:
        """Return the card as JSON; equal cards give equal text."""
        fields = asdict(self)
        if not self.group_by:
            del fields["group_by"]
        return json.dumps({"format": FORMAT, **fields}, sort_keys=True, ensure_ascii=False)

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
            group_by = tuple(fields.get("group_by", ()))
            return cls(target=fields["target"], features=features, bias=fields["bias"], group_by=group_by)
        except (KeyError, TypeError, json.JSONDecodeError) as exc:
            raise ModelCardError(f"the model card is not valid: {exc}") from exc
