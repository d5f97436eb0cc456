"""The client of the inference endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from model_store.deployment.errors import PredictionRefusedError, ServerRefusedError
from model_store.torchserve.client import Client

TIMEOUT_S = 60.0
JSON_TYPE = {"Content-Type": "application/json"}
OURS = (httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND)


class Inference(Client):
    """A client of the inference API at `url`."""

    def __init__(self, url: str, key_file: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(url, "inference", key_file, timeout_s)

    def predict(self, collection: str, request: Mapping[str, Any], version: int | None = None) -> dict[str, Any]:
        """Return the answer to a request. Raises PredictionRefusedError for one that is wrong."""
        content = json.dumps(request).encode()  # httpx would refuse NaN, a missing value
        return self._call("POST", _path(collection, version), content=content, headers=JSON_TYPE)

    def describe(self, collection: str, version: int | None = None) -> dict[str, Any]:
        """Return the description of a collection."""
        return self._call("GET", _path(collection, version))

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        response = self._send(method, path, **content)
        if response.is_error:
            raise _refusal(self.url, response)
        document: dict[str, Any] = response.json()
        return document


def _path(collection: str, version: int | None) -> str:
    return f"/predictions/{collection}" + ("" if version is None else f"/{version}")


def _refusal(url: str, response: httpx.Response) -> ServerRefusedError:
    """Return the error of a refusal: the message of the handler if the body has one, else the status."""
    try:
        error = response.json()
        message = str(error["message"])
        ours = response.status_code in OURS and not str(error["type"]).startswith("Model")
    except (ValueError, KeyError, TypeError):
        return ServerRefusedError(f"the endpoint at {url} refused: {response.status_code}", response.status_code)
    kind = PredictionRefusedError if ours else ServerRefusedError
    return kind(message if ours else f"the endpoint at {url} refused: {message}", response.status_code)
