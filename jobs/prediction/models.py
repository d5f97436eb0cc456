"""The models that are asked: those of a version in the store, by the code that serves, or those of an endpoint.

Shapes: n rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from handler.rows.model_card import Feature
from jobs.errors import UsageError

if TYPE_CHECKING:
    from handler.models.fleet import Fleet
    from model_store.ledger.versions import Version
    from model_store.torchserve.inference import Inference

Json = dict[str, Any]
INSTANCE = re.compile(r"instance (\d+): ")


class RefusedInstanceError(UsageError):
    """A request that is refused for one of its instances; `instance` is the place of it, from 0."""

    def __init__(self, reason: str, instance: int) -> None:
        super().__init__(reason)
        self.instance = instance


@dataclass(frozen=True)
class PredictionOptions:
    """The options of a request: the dataset, if all rows have the same, and the values beside the predictions.

    `extra` says what becomes of names that are no features: `error`, `ignore`, or None, the endpoint's default.
    """

    dataset: str | None = None
    interval: float | None = None
    extrapolation: bool = False
    explanations: bool = False
    extra: str | None = None

    def request(self, instances: list[Any], dataset: object = None) -> Json:
        """Return the request for these instances, without the options that are not set."""
        named = {**vars(self), "dataset": self.dataset if dataset is None else dataset}
        options = {name: value for name, value in named.items() if value is not None and value is not False}
        return {"instances": instances, **options}


@dataclass(frozen=True, order=True)
class Key:
    """The columns whose values name the groups of a source, after a prefix."""

    columns: tuple[str, ...]
    prefix: str = ""


@dataclass(frozen=True)
class Served:
    """What can be asked: the collection, its version, its datasets, and the features and key columns of the cards."""

    collection: str
    version: int
    num_datasets: int
    only: str | None
    keys: frozenset[Key]
    cards: Sequence[Sequence[Feature]]

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Return the features by name; of two kinds the categorical one, whose cells are sent as text."""
        every = [feature for card in self.cards for feature in card]
        return {feature.name: feature for feature in sorted(every, key=lambda each: each.kind, reverse=True)}


class StoredModels:
    """The models of a version in the store, asked without a server; of one dataset, if only that is asked."""

    def __init__(self, version: Version, dataset: str | None = None) -> None:
        self._version = version
        self._dataset = dataset

    @cached_property
    def fleet(self) -> Fleet:
        """The models, after every blob is verified. Raises UnknownDatasetError."""
        from model_store.archives.version_fleet import fleet_of_version

        return fleet_of_version(self._version, None if self._dataset is None else [self._dataset])

    def require_one(self) -> None:
        """Raise UsageError if no dataset is named, and there are several."""
        version = self._version
        if self._dataset is None and version.num_datasets > 1:
            raise UsageError(
                f"collection '{version.collection}' has {version.num_datasets} datasets: set --dataset to "
                f"one of 'gridline models list {version.collection}'"
            )

    @cached_property
    def served(self) -> Served:
        """What can be asked."""
        cards, version = [stack.card for stack in self.fleet.stacks], self._version
        return Served(
            version.collection,
            version.number,
            version.num_datasets,
            self.fleet.first if version.num_datasets == 1 else None,
            frozenset(Key(card.group_by, card.group_prefix) for card in cards if card.group_by),
            [card.features for card in cards],
        )

    def ask(self, request: Json) -> Json:
        """Return what an endpoint that serves this version answers. Raises UsageError for what it would refuse."""
        from handler.answers.answering import OK, answer
        from handler.requests.payload import Request

        [answered] = answer(self.fleet, [Request(json.dumps(request).encode())])
        document: Json = json.loads(answered.body)
        if answered.status != OK:
            raise refused(str(document["message"]))
        return document


@dataclass(frozen=True)
class EndpointModels:
    """The models that an endpoint serves."""

    endpoint: Inference
    collection: str
    version: int | None

    def require_one(self) -> None:
        """Do nothing: the endpoint says it."""

    @cached_property
    def served(self) -> Served:
        """What can be asked."""
        document = self.endpoint.describe(self.collection, self.version)
        return Served(
            document["collection"],
            document["version"],
            document["num_datasets"],
            document["datasets"][0] if document["num_datasets"] == 1 else None,
            frozenset(
                Key(tuple(model["group_by"]), model.get("group_prefix", ""))
                for model in document["models"]
                if "group_by" in model
            ),
            [tuple(map(_feature, model["features"])) for model in document["models"]],
        )

    def ask(self, request: Json) -> Json:
        """Return the answer of the endpoint. Raises UsageError for what it refuses."""
        from model_store.deployment.errors import PredictionRefusedError

        try:
            return self.endpoint.predict(self.collection, request, self.version)
        except PredictionRefusedError as exc:
            raise refused(str(exc)) from exc


Models = StoredModels | EndpointModels


def refused(message: str) -> UsageError:
    """Return the error of a refused request."""
    found = INSTANCE.match(message)
    return UsageError(message) if found is None else RefusedInstanceError(message[found.end() :], int(found[1]))


def _feature(described: Mapping[str, Any]) -> Feature:
    return Feature(described["name"], kind=described["kind"], missing=described["missing"])


def _instance_of(settings: Sequence[str]) -> Json:
    """Return the instance that `--set name=value …` gives. Raises UsageError for one that is no pair, or repeated."""
    instance: Json = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise UsageError(f"--set {setting!r} is not name=value: give a feature and its value, such as area=3")
        if name in instance:
            raise UsageError(f"--set gives {name!r} twice: give each feature once")
        instance[name] = value
    return instance


def predict_values(models: Models, options: PredictionOptions, settings: Sequence[str]) -> Json:
    """Return the answer for the instance that `--set` gives."""
    instance = _instance_of(settings)
    models.require_one()
    return models.ask(options.request([instance]))
