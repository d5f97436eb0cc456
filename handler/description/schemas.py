"""JSON Schemas of instances: what a caller should send for the features of a model card.

The endpoint takes more than a schema says: numbers and truths as text, lists in the order of the features.

Shapes: m models · k raw features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..models.stack import ServedStack
from ..rows.date_parts import iso_of
from ..rows.model_card import MISSING_LEVEL, OTHER_LEVEL, Feature
from ..rows.transforms import DOMAINS

MAX_LEVELS = 200  # that a schema lists; of a feature with more, the first ones are examples
NUM_EXAMPLES = 5
FILLED_BY = {"mean": "the mean of training", "median": "the median of training", "indicator": "a column that says so"}

Json = dict[str, Any]
Ranges = Sequence[tuple[float, float]]


def instance_schema(stack: ServedStack, ranges: Ranges, *, names_dataset: bool = False) -> Json:
    """Return the schema of an instance as an object; with `names_dataset` it may name its dataset.

    `ranges` are the k smallest and greatest values that training saw, NaN where there are none.
    """
    features = stack.card.features
    properties = {feature.name: _feature(feature, *its) for feature, its in zip(features, ranges, strict=True)}
    required = [feature.name for feature in features if not _may_miss(feature)]
    if names_dataset and "dataset" not in properties:
        properties = {"dataset": {"type": "string", "description": "The dataset whose model answers."}} | properties
    schema: Json = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {**schema, "description": f"The features of {stack.card.target!r}, in raw units."}


def ranges_of(stack: ServedStack, model: int | None = None) -> list[tuple[float, float]]:
    """Return the smallest and the greatest value of each feature that training saw, of one model or of all."""
    stored = stack.statistics
    num_features = len(stack.card.features)
    if stored is None:
        return [(math.nan, math.nan)] * num_features
    models = slice(None) if model is None else slice(model, model + 1)
    least_mk, greatest_mk = stored.feature_min_mk[models], stored.feature_max_mk[models]
    least_k = np.fmin.reduce(least_mk, axis=0).tolist()
    return list(zip(least_k, np.fmax.reduce(greatest_mk, axis=0).tolist(), strict=True))


def shown_levels(feature: Feature) -> list[str]:
    """Return the levels of a categorical feature that are values: not those for missing and for rare values."""
    return [level for level in feature.levels if level not in (MISSING_LEVEL, OTHER_LEVEL)]


def _may_miss(feature: Feature) -> bool:
    return feature.fills or feature.missing == "level"


def _feature(feature: Feature, least: float, greatest: float) -> Json:
    of_kind = {"numeric": _number, "categorical": _category, "datetime": _datetime}
    schema, said = of_kind[feature.kind](feature, least, greatest)
    if _may_miss(feature):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
        said += f" A missing value is replaced by {FILLED_BY.get(feature.missing, 'the level of missing values')}."
    return schema | ({"description": said.strip()} if said else {})


def _number(feature: Feature, least: float, greatest: float) -> tuple[Json, str]:
    schema: Json = {"type": "number"}
    if feature.transform is not None:
        domain = DOMAINS[feature.transform]
        schema["minimum" if domain.closed else "exclusiveMinimum"] = domain.lower
    if not math.isfinite(least):
        return schema, ""
    middle = (least + greatest) / 2
    examples = [middle] if math.isfinite(middle) else [least]
    return schema | {"examples": examples, **_range(least, greatest)}, f"Training saw {least:g} to {greatest:g}."


def _category(feature: Feature, least: float, greatest: float) -> tuple[Json, str]:
    levels = shown_levels(feature)
    if feature.unseen == "error" and len(levels) <= MAX_LEVELS:
        return {"type": "string", "enum": levels}, "A whole number may be sent as a number."
    said = f"Training saw {len(levels)} levels; another one is refused."
    if feature.unseen != "error":
        said = f"Training saw {len(levels)} levels; another one counts as the {feature.unseen} level."
    return {"type": "string", "examples": levels[:NUM_EXAMPLES]}, said


def _datetime(feature: Feature, least: float, greatest: float) -> tuple[Json, str]:
    schema: Json = {"type": "string"}
    said = "A date or a time in ISO 8601, such as 2026-01-31 or 2026-01-31T13:00+02:00; in UTC without an offset."
    if not math.isfinite(least):
        return schema, said
    first, last = iso_of(least), iso_of(greatest)
    return schema | {"examples": [first], **_range(first, last)}, f"{said} Training saw {first} to {last}."


def _range(least: float | str, greatest: float | str) -> Json:
    """Return the trained range: values outside are answered, so it is no limit."""
    return {"x-trained-range": {"minimum": least, "maximum": greatest}}
