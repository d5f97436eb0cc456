"""The keys of a server, in a file of TorchServe's format: one for each API, and one that makes new keys."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.deployment.errors import ServerError

if TYPE_CHECKING:
    from model_store.deployment.server import Api

KEY_BYTES = 32
LEAST_LENGTH = 32


@dataclass(frozen=True)
class Keys:
    """The keys of the inference and the management API; `tokens` may ask for new ones. They never expire."""

    inference: str = field(repr=False)
    management: str = field(repr=False)
    tokens: str = field(repr=False)

    def rotated(self, api: Api) -> Keys:
        """Return the keys with another one for this API."""
        return replace(self, **{api: new_key()})

    def write(self, path: Path) -> None:
        """Replace the key file, which only its owner can read."""
        document = {"management": {"key": self.management}, "inference": {"key": self.inference}}
        text = json.dumps(document | {"API": {"key": self.tokens}}, indent=2) + "\n"
        partial = path.with_name(f".{path.name}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        partial.replace(path)


def read_keys(path: Path) -> Keys:
    """Return the keys of a key file. Raises ServerError, without telling any, if it lacks one, or has short ones."""
    try:
        document = json.loads(path.read_text())
        keys = [str(document[name]["key"]) for name in ("inference", "management", "API")]
    except OSError as exc:
        raise ServerError(f"key file {path} can't be read: {exc.strerror}; check --keys") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ServerError(
            f'key file {path} is not {{"inference": {{"key": …}}, "management": {{"key": …}}, "API": {{"key": …}}}}'
        ) from exc
    if min(map(len, keys)) < LEAST_LENGTH or len(set(keys)) < len(keys):
        raise ServerError(f"key file {path} needs three different keys of {LEAST_LENGTH} characters or more each")
    return Keys(*keys)


def new_keys() -> Keys:
    """Return keys that nobody knows."""
    return Keys(new_key(), new_key(), new_key())


def new_key() -> str:
    return secrets.token_urlsafe(KEY_BYTES)


def bearer(key: str) -> bytes:
    """Return the Authorization header with a key."""
    return f"Bearer {key}".encode()


def is_key(header: str, key: str) -> bool:
    """Return whether an Authorization header has this key, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(header.encode("latin-1", errors="replace"), bearer(key))
