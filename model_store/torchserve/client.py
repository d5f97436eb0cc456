"""What the clients of TorchServe's APIs share: the key, the timeouts, and the errors of the way there."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

from model_store.deployment.errors import KeyRefusedError, ServerError
from model_store.torchserve.keys import BearerKey, KeyFile, KeyKind, is_key_refusal

CONNECT_TIMEOUT_S = 5.0


class Client:
    """A client of one of the APIs, at `url`; a context manager. Raises ServerError and its kinds."""

    def __init__(self, url: str, api: KeyKind, key_file: KeyFile | None, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._api = api
        auth = None if key_file is None else BearerKey(key_file, api)
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        self._client = httpx.Client(base_url=self.url, auth=auth, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Return the response, which may be a refusal, but not of the key."""
        try:
            response = self._client.request(method, path, **content)
        except httpx.HTTPError as exc:
            raise ServerError(
                f"TorchServe's {self._api} API can't be reached at {self.url}: {type(exc).__name__} {exc}; "
                "is it running there?"
            ) from exc
        if is_key_refusal(response):
            raise KeyRefusedError(
                f"TorchServe's {self._api} API at {self.url} refused the key: set --token-file to its key_file.json",
                response.status_code,
            )
        return response
