"""What a collection is: version, datasets, features, metrics, and from what and when each model was trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .fleet import Fleet
from .model_card import Feature, ModelCard

DATASETS_SHOWN = 100

Json = dict[str, Any]


def describe(fleet: Fleet) -> Json:
    """Return the description of a collection: the first datasets, and in full where there is only one."""
    num_shown = min(len(fleet), DATASETS_SHOWN)
    shown = [fleet.index.names[position] for position in range(num_shown)]
    return {
        "collection": fleet.collection,
        "version": fleet.version,
        "num_datasets": len(fleet),
        "datasets": shown,
        "models": [_model(stack.card) for stack in fleet.stacks[:DATASETS_SHOWN]],
    } | (describe_dataset(fleet, shown[0]) if len(fleet) == 1 else {})


def describe_dataset(fleet: Fleet, dataset: str) -> Json:
    """Return the description of one dataset. Raises UnknownDatasetError."""
    position = fleet.position(dataset)
    place = fleet.place(position)
    stack = fleet.stacks[place.stack]
    weight_d = stack.weight_md[place.row].tolist()
    intercept = {} if stack.bias_m is None else {"intercept": float(stack.bias_m[place.row])}
    return {
        "collection": fleet.collection,
        "version": fleet.version,
        "dataset": dataset,
        **_model(stack.card),
        "coefficients": intercept | dict(zip(stack.card.columns, weight_d, strict=True)),
        "training": dict(fleet.facts.row(position)),
    }


def _model(card: ModelCard) -> Json:
    return {"target": card.target, "features": [_feature(feature) for feature in card.features]}


def _feature(feature: Feature) -> Json:
    """Return a feature as a caller sees it; values are given in raw units, the transform is applied here."""
    return {name: value for name, value in asdict(feature).items() if value not in (None, ())} | {"units": "raw"}
