"""The keys of a TorchServe, read from its key file each time they are needed: a restart makes new ones."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from model_store.deployment.errors import ServerError

KeyKind = Literal["inference", "management"]


@dataclass(frozen=True)
class KeyFile:
    """Where the keys stand. A folder counts as the one that holds `key_file.json`."""

    path: Path

    def read(self, kind: KeyKind) -> str:
        """Return a key. Raises ServerError, with no key in its message, if the file can't be read or has none."""
        path = self.path / "key_file.json" if self.path.is_dir() else self.path
        try:
            return str(json.loads(path.read_text())[kind]["key"])
        except OSError as exc:
            raise ServerError(
                f"key file {path} can't be read: {exc.strerror}; set --token-file to TorchServe's key_file.json"
            ) from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise ServerError(f"key file {path} has no {kind} key: is it TorchServe's key_file.json?") from exc


class BearerKey(httpx.Auth):
    """Sends a key with each request; when it is refused, reads the file anew and asks once more."""

    def __init__(self, file: KeyFile, kind: KeyKind) -> None:
        self._file = file
        self._kind = kind
        self._key: str | None = None

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        known = self._key
        self._key = known or self._file.read(self._kind)
        request.headers["Authorization"] = f"Bearer {self._key}"
        response = yield request
        if known is not None and is_key_refusal(response):
            self._key = self._file.read(self._kind)
            request.headers["Authorization"] = f"Bearer {self._key}"
            yield request


def is_key_refusal(response: httpx.Response) -> bool:
    """Return whether TorchServe refused the key: it says so with 400 and a type of its own."""
    return response.status_code in (400, 401, 403) and "InvalidKeyException" in response.text
