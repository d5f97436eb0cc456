"""Both APIs of a server in this process, without ports: what answers, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from handler.hosting.endpoint import Endpoint
from handler.requests.payload import Request
from model_store.deployment.errors import PredictionRefusedError, ServerError


@dataclass
class FakeServer:
    """Both APIs of a server in this process: endpoints by collection, and what goes wrong."""

    endpoints: dict[str, Endpoint]
    down: str | None = None  # why neither API answers
    broken: dict[str, str] = field(default_factory=dict)  # why a collection does not answer
    num_described: int = 0

    def models(self) -> tuple[str, ...]:
        self._fail(self.down)
        return tuple(self.endpoints)

    def default_version(self, model: str) -> str | None:
        self._fail(self.down)
        return str(self.endpoints[model].fleet.version)

    def describe(self, collection: str) -> Mapping[str, Any]:
        self.num_described += 1
        return self._respond(collection, Request(method="GET"))

    def predict(self, collection: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._respond(collection, Request(json.dumps(request).encode()))

    def _respond(self, collection: str, request: Request) -> Mapping[str, Any]:
        self._fail(self.down)
        self._fail(self.broken.get(collection))
        [answer] = self.endpoints[collection].respond([request])
        document: Mapping[str, Any] = json.loads(answer.body)
        if answer.status != 200:
            raise PredictionRefusedError(document["message"], answer.status)
        return document

    @staticmethod
    def _fail(problem: str | None) -> None:
        if problem is not None:
            raise ServerError(problem)
