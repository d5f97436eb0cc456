"""A client of one of TorchServe's APIs: the key, the timeouts, and the errors of a connection."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from model_store.deployment.errors import KeyRefusedError, ServerError

CONNECT_TIMEOUT_S = 5.0

Api = Literal["inference", "management"]


class Client:
    """A client of one of the APIs, at `url`; a context manager. Raises ServerError and its kinds."""

    def __init__(self, url: str, api: Api, key_file: Path | None, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._api = api
        auth = None if key_file is None else BearerKey(key_file, api)
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        self._client = httpx.Client(base_url=self.url, auth=auth, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
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


class BearerKey(httpx.Auth):
    """Send the key of an API with each request; when it is refused, read the file again and ask once more."""

    def __init__(self, key_file: Path, api: Api) -> None:
        self._key_file = key_file
        self._api = api
        self._key: str | None = None

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        used = self._key
        self._key = used or read_key(self._key_file, self._api)
        request.headers["Authorization"] = f"Bearer {self._key}"
        response = yield request
        if used is not None and is_key_refusal(response):
            self._key = read_key(self._key_file, self._api)
            request.headers["Authorization"] = f"Bearer {self._key}"
            yield request


def read_key(key_file: Path, api: Api) -> str:
    """Return the key of an API; `key_file` may also be the folder of `key_file.json`. A restart makes new keys.

    Raises ServerError, with no key in its message, if the file can't be read or has none.
    """
    path = key_file / "key_file.json" if key_file.is_dir() else key_file
    try:
        return str(json.loads(path.read_text())[api]["key"])
    except OSError as exc:
        raise ServerError(
            f"key file {path} can't be read: {exc.strerror}; set --token-file to TorchServe's key_file.json"
        ) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ServerError(f"key file {path} has no {api} key: is it TorchServe's key_file.json?") from exc


def is_key_refusal(response: httpx.Response) -> bool:
    """Return whether TorchServe refused the key: it answers 400 with an error type for keys."""
    return response.status_code in (400, 401, 403) and "InvalidKeyException" in response.text
