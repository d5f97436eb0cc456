"""The client of the inference endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx

from model_store.torchserve.errors import KeyRefusedError, PredictionRefusedError, ServerError, ServerRefusedError
from model_store.torchserve.keys import BearerKey, KeyFile, is_key_refusal

TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0
JSON_TYPE = {"Content-Type": "application/json"}
OURS = (httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND)


class Inference:
    """A client of the inference API at `url`; a context manager. Raises ServerError and its kinds."""

    def __init__(self, url: str, key_file: KeyFile | None = None) -> None:
        self.url = url.rstrip("/")
        auth = None if key_file is None else BearerKey(key_file, "inference")
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._client = httpx.Client(base_url=self.url, auth=auth, timeout=timeout, trust_env=False)

    def __enter__(self) -> Inference:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def predict(self, collection: str, request: Mapping[str, Any], version: int | None = None) -> dict[str, Any]:
        """Return the answer to a request. Raises PredictionRefusedError for one that is wrong."""
        content = json.dumps(request).encode()  # httpx would refuse NaN, which stands for a missing value
        return self._call("POST", _path(collection, version), content=content, headers=JSON_TYPE)

    def describe(self, collection: str, version: int | None = None) -> dict[str, Any]:
        """Return the description of a collection."""
        return self._call("GET", _path(collection, version))

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **content)
        except httpx.HTTPError as exc:
            raise ServerError(
                f"the endpoint can't be reached at {self.url}: {type(exc).__name__} {exc}; is it running there?"
            ) from exc
        if is_key_refusal(response):
            raise KeyRefusedError(
                f"the endpoint at {self.url} refused the inference key: set --token-file to TorchServe's key_file.json",
                response.status_code,
            )
        if response.is_error:
            raise _refusal(self.url, response)
        document: dict[str, Any] = response.json()
        return document


def _path(collection: str, version: int | None) -> str:
    return f"/predictions/{collection}" + ("" if version is None else f"/{version}")


def _refusal(url: str, response: httpx.Response) -> ServerRefusedError:
    """Return the error of a refusal: the handler's own words where they are, else the status."""
    try:
        said = response.json()
        message = str(said["message"])
        ours = response.status_code in OURS and not str(said["type"]).startswith("Model")
    except (ValueError, KeyError, TypeError):
        return ServerRefusedError(f"the endpoint at {url} refused: {response.status_code}", response.status_code)
    kind = PredictionRefusedError if ours else ServerRefusedError
    return kind(message if ours else f"the endpoint at {url} refused: {message}", response.status_code)
