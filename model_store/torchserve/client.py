"""A client of one of TorchServe's APIs: the key, the timeouts, and the errors of a connection."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from model_store.deployment.errors import KeyRefusedError, ServerError
from model_store.deployment.server import Api

CONNECT_TIMEOUT_S = 5.0

REWRITE_S = 0.5  # from the refusal of an old key until the file has the new one, at the most
REWRITE_POLL_S = 0.01

Key = Literal["inference", "management", "API"]  # the last one only makes new keys


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
        if self._client.is_closed:  # by another thread, which ends
            raise ServerError(f"the client of TorchServe's {self._api} API at {self.url} is closed")
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

    def __init__(self, key_file: Path, api: Key) -> None:
        self._key_file = key_file
        self._api = api
        self._key: str | None = None

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        used = self._key or read_key(self._key_file, self._api)
        self._key = used
        request.headers["Authorization"] = f"Bearer {used}"
        response = yield request
        if is_key_refusal(response) and (new := self._other_key(used)):
            self._key = new
            request.headers["Authorization"] = f"Bearer {new}"
            yield request

    def _other_key(self, used: str) -> str | None:
        """Return the key of the file, if it is another one by `REWRITE_S`: a server refuses a key before it writes."""
        deadline = time.monotonic() + REWRITE_S
        while True:
            with contextlib.suppress(ServerError):  # the file may be half written
                if (new := read_key(self._key_file, self._api)) != used:
                    return new
            if time.monotonic() > deadline:
                return None
            time.sleep(REWRITE_POLL_S)


def key_path(key_file: Path) -> Path:
    """Return the path of the key file, which may also be named by its folder."""
    return key_file / "key_file.json" if key_file.is_dir() else key_file


def read_key(key_file: Path, api: Key) -> str:
    """Return the key of an API; `key_file` may also be the folder of `key_file.json`. A restart makes new keys.

    Raises ServerError, with no key in its message, if the file can't be read or has none.
    """
    path = key_path(key_file)
    try:
        return str(json.loads(path.read_text())[api]["key"])
    except OSError as exc:
        raise ServerError(
            f"key file {path} can't be read: {exc.strerror}; set --token-file to the server's key_file.json"
        ) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ServerError(f"key file {path} has no {api} key: is it the server's key_file.json?") from exc


def is_key_refusal(response: httpx.Response) -> bool:
    """Return whether TorchServe refused the key: it answers 400 with an error type for keys."""
    return response.status_code in (400, 401, 403) and "InvalidKeyException" in response.text
