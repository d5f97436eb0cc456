"""Describe a collection: version, datasets, features, metrics, and when and from which data each model was trained.

Shapes: k raw features · d encoded columns.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from ..answers.answering import answer
from ..models.fleet import Fleet
from ..models.stack import ServedStack
from ..requests.payload import Request
from ..rows.date_parts import iso_of
from ..rows.model_card import Feature, ModelCard
from .listing import Asked, page_of
from .schemas import instance_schema, ranges_of, shown_levels
from .statistics import statistics

CARDS_SHOWN = 100
COUNTS = ("epoch", "num_rows")
POINT = "hyperparameters"

Json = dict[str, Any]


def describe(fleet: Fleet) -> Json:
    """Return the description of a collection with its first datasets; if it has one dataset, with that in full."""
    return {
        **list_datasets(fleet, Asked()),
        "models": [_model(stack.card) for stack in fleet.stacks[:CARDS_SHOWN]],
        "example": example(fleet),
    } | (describe_dataset(fleet, fleet.first) if fleet.num_datasets == 1 else {})


def list_datasets(fleet: Fleet, asked: Asked) -> Json:
    """Return a page of the names of datasets; `next` is the `after` of the next page, null on the last one."""
    page = page_of(fleet.index.names, asked)
    return {
        "collection": fleet.collection,
        "version": fleet.version,
        "num_datasets": fleet.num_datasets,
        "datasets": page.datasets,
        "next": page.next,
    }


def describe_dataset(fleet: Fleet, dataset: str) -> Json:
    """Return the description of one dataset. Raises NotServedError."""
    position = fleet.position(dataset)
    place = fleet.place(position)
    stack = fleet.stacks[place.stack]
    bias = None if stack.bias_m is None else stack.bias_m[place.row]
    return {
        "collection": fleet.collection,
        "version": fleet.version,
        "dataset": dataset,
        **_model(stack.card),
        "schema": instance_schema(stack, ranges_of(stack, place.row)),
        "coefficients": stack.card.coefficients(stack.weight_md[place.row].tolist(), bias),
        "statistics": statistics(stack, place.row, dataset),
        "training": _training(fleet, position),
    }


def example(fleet: Fleet) -> Json:
    """Return a request about the first dataset, with values from the middle of its trained range, and its answer."""
    place = fleet.place(0)
    request = {"dataset": fleet.first, "instances": [_middle(fleet.stacks[place.stack], place.row)]}
    [answered] = answer(fleet, [Request(json.dumps(request).encode())])
    return {"request": request, "answer": json.loads(answered.body)}


def _middle(stack: ServedStack, row: int) -> Json:
    """Return an instance: the middle of each trained range, or 1 without a range; the first level or date."""
    features, ranges = stack.card.features, ranges_of(stack, row)
    return {feature.name: _value(feature, *its) for feature, its in zip(features, ranges, strict=True)}


def _value(feature: Feature, least: float, greatest: float) -> str | float | None:
    if feature.kind == "categorical":
        return next(iter(shown_levels(feature)), None if feature.missing == "level" else feature.levels[0])
    if feature.kind == "datetime":
        return iso_of(least if math.isfinite(least) else 0.0)
    middle = (least + greatest) / 2
    return middle if math.isfinite(middle) else 1.0


def _training(fleet: Fleet, position: int) -> Json:
    """Return the training facts of a dataset; counts as whole numbers, and the grid point as an object."""
    facts = dict(fleet.facts.row(position))
    counts = {name: int(float(str(facts[name]))) for name in COUNTS if name in facts}
    point = {POINT: json.loads(str(facts[POINT]))} if POINT in facts else {}
    return facts | counts | point


def _model(card: ModelCard) -> Json:
    grouped: Json = {"group_by": list(card.group_by)} if card.group_by else {}
    grouped |= {"group_prefix": card.group_prefix} if card.group_prefix else {}
    terms = {"terms": list(map(str, card.terms))} if card.terms else {}
    transform = {"target_transform": card.target_transform} if card.target_transform else {}
    features = [_feature(feature) for feature in card.features]
    return {"target": card.target, **transform, "features": features, **terms, **grouped}


def _feature(feature: Feature) -> Json:
    """Return a feature for callers: they give values in raw units, and the handler applies the transform."""
    said = {name: value for name, value in asdict(feature).items() if value not in (None, ())}
    if feature.kind == "datetime":
        said["origin"] = iso_of(feature.origin)
    else:
        del said["origin"], said["cyclic"]
    if feature.main:
        del said["main"]
    return said | {"units": "raw"}
