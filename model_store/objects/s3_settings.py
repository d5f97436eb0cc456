"""Where S3 is and who asks: resolved once from the environment, then handed to every client and every worker."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from model_store.errors import S3SettingsError
from model_store.objects.retry import RetryPolicy

RETRY_VARIABLE = "GRIDLINE_RETRY_S"
SHORTEST_SECRET = 4  # a shorter one is for trials, and would be found in every word
REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
HOST_AND_PORT = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")


@dataclass(frozen=True)
class S3Settings:
    """The endpoint, the region, the credentials, and how long a call may take.

    `endpoint_url` None is AWS itself. Where `access_key_id` is None, boto3 and pyarrow look for credentials in the
    places of their own (profile, container, instance). Secrets are not part of the repr; the object can be pickled.
    """

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 20.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    endpoint_variable: str = field(default="AWS_ENDPOINT_URL", repr=False, compare=False)

    @classmethod
    def from_environment(cls, env: Mapping[str, str], retry_s: float | None = None) -> S3Settings:
        """Return the settings that the names in `env` give; the S3 endpoint comes before the general one.

        A call is tried again for `retry_s`, else for GRIDLINE_RETRY_S, else for a minute. Raises S3SettingsError.
        """
        variable = "AWS_ENDPOINT_URL_S3" if env.get("AWS_ENDPOINT_URL_S3") else "AWS_ENDPOINT_URL"
        return cls(
            endpoint_url=env.get(variable) or None,
            region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or None,
            access_key_id=env.get("AWS_ACCESS_KEY_ID") or None,
            secret_access_key=env.get("AWS_SECRET_ACCESS_KEY") or None,
            session_token=env.get("AWS_SESSION_TOKEN") or None,
            endpoint_variable=variable,
            retry=_retry(env.get(RETRY_VARIABLE) or "", retry_s),
        )

    def require_usable(self) -> None:
        """Raise S3SettingsError if no client can be made of these settings. They may never be used: ask before use."""
        if self.endpoint_url is not None and (fault := _fault_of_endpoint(self.endpoint_url)) is not None:
            raise S3SettingsError(f"{self.endpoint_variable} {fault}")
        if self.region is not None and not REGION.fullmatch(self.region):
            raise S3SettingsError(f"AWS_REGION {self.region!r} is not a region: write one such as 'eu-central-1'")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
            there, lacking = names if self.secret_access_key is None else reversed(names)
            raise S3SettingsError(f"{there} is set, and {lacking} is not: set both, or neither")

    def client_region(self) -> str | None:
        """Return the region for a client: a custom endpoint needs some name, and `us-east-1` is what servers expect."""
        return self.region or ("us-east-1" if self.endpoint_url else None)

    def pyarrow_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `pyarrow.fs.S3FileSystem`, which does not read AWS_ENDPOINT_URL by itself."""
        arguments: dict[str, Any] = {
            "connect_timeout": self.connect_timeout_s,
            "request_timeout": self.read_timeout_s,
        }
        if self.endpoint_url:
            parts = urlsplit(self.endpoint_url)
            arguments |= {
                "endpoint_override": parts.netloc + parts.path.rstrip("/"),
                "scheme": parts.scheme,
                "force_virtual_addressing": False,
            }
        if region := self.client_region():
            arguments["region"] = region
        if self.access_key_id:
            arguments |= {"access_key": self.access_key_id, "secret_key": self.secret_access_key}
            if self.session_token:
                arguments["session_token"] = self.session_token
        return arguments

    def redact(self, text: str) -> str:
        """Return `text` with every secret of these settings replaced."""
        for secret in (self.secret_access_key, self.session_token, self.access_key_id):
            if secret and len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text


def _retry(written: str, retry_s: float | None) -> RetryPolicy:
    if retry_s is not None:
        return RetryPolicy(deadline_s=retry_s)
    if not written:
        return RetryPolicy()
    try:
        deadline_s = float(written)
    except ValueError:
        deadline_s = math.nan
    if not 0 <= deadline_s < math.inf:
        raise S3SettingsError(f"{RETRY_VARIABLE} {written!r} is not a number of seconds: write one, such as 60")
    return RetryPolicy(deadline_s=deadline_s)


def _fault_of_endpoint(url: str) -> str | None:
    """Return why a URL can't be an endpoint, and what to write; None if it can. It does not show a password."""
    scheme, separator, rest = url.partition("://")
    if "@" in url:
        return "has a user in it: remove it, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if not separator:
        remedy = f"write http://{url}" if HOST_AND_PORT.fullmatch(url) else "write http://HOST:PORT"
        return f"{url!r} has no scheme: {remedy}"
    if scheme not in ("http", "https"):
        return f"{url!r} has the scheme {scheme!r}: write http://{rest}, or https://{rest}"
    try:
        host, _ = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:
        host = None
    valid = host is not None and not any(character.isspace() for character in url)
    return None if valid else f"{url!r} is not an address: write {scheme}://HOST:PORT"
