"""Ask a server the example of each collection, as a client would: through the inference port, with the key."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from model_store.deployment.errors import PredictionRefusedError, ServerError
from model_store.deployment.rollout import is_same_prediction


class Listing(Protocol):
    """The management of a server."""

    def models(self) -> Sequence[str]:
        """Return the names of the registered models. Raises ServerError."""

    def default_version(self, model: str) -> str | None:
        """Return the version that a request without one gets. Raises ServerError."""


class Endpoint(Protocol):
    """A client of the inference port."""

    def predict(self, collection: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer to a request. Raises ServerError, and PredictionRefusedError for a wrong one."""

    def describe(self, collection: str) -> Mapping[str, Any]:
        """Return the description of a collection. Raises ServerError."""


@dataclass(frozen=True)
class Answered:
    """How a collection answered its example: by which version and in how many seconds, or why it did not."""

    version: int | None = None
    seconds: float = 0.0
    problem: str | None = None


class ExampleProbe:
    """Asks the examples of a server. A description holds its example, so it is asked once for each version."""

    def __init__(self, management: Listing, inference: Endpoint) -> None:
        self._management = management
        self._inference = inference
        self._examples: dict[str, Mapping[str, Any]] = {}

    def collections(self) -> tuple[str, ...]:
        """Return the collections of the server. Raises ServerError if its management does not answer."""
        return tuple(self._management.models())

    def default_version(self, collection: str) -> str | None:
        """Return the version that requests without one get. Raises ServerError."""
        return self._management.default_version(collection)

    def ask(self) -> dict[str, Answered]:
        """Return how each collection answered. Raises ServerError if the management does not say what they are."""
        return {name: self._ask(name) for name in self.collections()}

    def _ask(self, collection: str) -> Answered:
        started = time.perf_counter()
        try:
            version, problem = self._answer(collection)
        except ServerError as exc:
            self._examples.pop(collection, None)
            return Answered(problem=" ".join(str(exc).split()))
        return Answered(version, time.perf_counter() - started, problem)

    def _answer(self, collection: str) -> tuple[int, str | None]:
        """Return the version that answered, and what is wrong with the answer."""
        example = self._examples.get(collection)
        if example is not None:
            try:
                return self._compared(collection, example)
            except PredictionRefusedError:  # another version serves, and lacks the dataset or has other features
                pass
        self._examples[collection] = example = self._inference.describe(collection)["example"]
        return self._compared(collection, example)

    def _compared(self, collection: str, example: Mapping[str, Any]) -> tuple[int, str | None]:
        answer = self._inference.predict(collection, example["request"])
        version = int(answer["model"]["version"])
        if version != example["answer"]["model"]["version"]:
            del self._examples[collection]
            return version, None
        [found], [expected] = answer["predictions"], example["answer"]["predictions"]
        if is_same_prediction(found, expected):
            return version, None
        return version, "it predicts another number for its example than it describes"
