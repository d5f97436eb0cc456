"""Predict from the command line, without a server by the code that serves, or from an endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import UsageError

if TYPE_CHECKING:
    from handler.fleet import Fleet
    from jobs.progress import Progress
    from model_store.ledger.versions import Version
    from model_store.torchserve.inference import Inference

Json = dict[str, Any]


@dataclass(frozen=True)
class PredictionOptions:
    """The options of a request: the dataset, if all rows have the same, and the values beside the predictions."""

    dataset: str | None = None
    interval: float | None = None
    extrapolation: bool = False
    explanations: bool = False

    def request(self, instances: list[Any]) -> Json:
        """Return the request for these instances, without the options that are not set."""
        options = {name: value for name, value in vars(self).items() if value is not None and value is not False}
        return {"instances": instances, **options}


class StoredModels:
    """The models of a version in the store, asked without a server."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._fleet: Fleet | None = None

    def prepare(self, datasets: Sequence[str] | None) -> None:
        """Read the models of these datasets. Raises UsageError if none is named, and there are several."""
        from model_store.archives.version_fleet import fleet_of_version

        if datasets is None and self._version.num_datasets > 1:
            raise UsageError(
                f"collection '{self._version.collection}' has {self._version.num_datasets} datasets: set --dataset to "
                f"one of 'gridline models list {self._version.collection}'"
            )
        self._fleet = fleet_of_version(self._version, datasets)

    @property
    def fleet(self) -> Fleet:
        assert self._fleet is not None  # noqa: S101 - prepare() comes first
        return self._fleet

    def features(self) -> dict[str, str]:
        """Return the kind of each feature that requests may have."""
        return _kinds((feature.name, feature.kind) for stack in self.fleet.stacks for feature in stack.card.features)

    def ask(self, request: Json) -> Json:
        """Return what an endpoint that serves this version answers. Raises UsageError for what it would refuse."""
        from handler.answering import OK, answer
        from handler.payload import Request

        [answered] = answer(self.fleet, [Request(json.dumps(request).encode())])
        document: Json = json.loads(answered.body)
        if answered.status != OK:
            raise UsageError(str(document["message"]))
        return document


@dataclass(frozen=True)
class EndpointModels:
    """The models that an endpoint serves."""

    endpoint: Inference
    collection: str
    version: int | None

    def prepare(self, datasets: Sequence[str] | None) -> None:
        """Do nothing: the endpoint is ready."""

    def features(self) -> dict[str, str]:
        """Return the kind of each feature that requests may have."""
        models = self.endpoint.describe(self.collection, self.version)["models"]
        return _kinds((feature["name"], feature["kind"]) for model in models for feature in model["features"])

    def ask(self, request: Json) -> Json:
        """Return the answer of the endpoint."""
        return self.endpoint.predict(self.collection, request, self.version)


Models = StoredModels | EndpointModels


def _kinds(features: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the kind of each feature, by name; of two kinds the first in the alphabet, which is `categorical`."""
    return dict(sorted(set(features), reverse=True))


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
    models.prepare(None if options.dataset is None else [options.dataset])
    return models.ask(options.request([instance]))


def predict_file(models: Models, options: PredictionOptions, path: Path, progress: Progress) -> Json:
    """Return the answer for the rows of a file, which are sent in requests of `ROWS_PER_REQUEST` rows.

    If the options name no dataset, the column `dataset` names that of each row.
    """
    from jobs.prediction.rows import DATASET, ROWS_PER_REQUEST, instances_of, joined, open_rows  # they import pyarrow

    file = open_rows(path)
    with_dataset = options.dataset is None and DATASET in file.names
    named = file.datasets() if with_dataset else None
    models.prepare(named if options.dataset is None else [options.dataset])
    parts = file.read(models.features(), with_dataset=with_dataset)
    answers = []
    with progress.counting("requests", sum(-(-part.num_rows // ROWS_PER_REQUEST) for part in parts)) as advance:
        for instances in instances_of(parts):
            answers.append(models.ask(options.request(instances)))
            advance(f"{len(instances)} rows")
    return joined(answers)
