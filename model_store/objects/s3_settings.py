"""Where S3 is and who asks: resolved once from the environment, then handed to every client and every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from model_store.objects.retry import RetryPolicy


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

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> S3Settings:
        """Return the settings that the AWS names in `env` give; the S3 endpoint comes before the general one."""
        return cls(
            endpoint_url=env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or None,
            region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or None,
            access_key_id=env.get("AWS_ACCESS_KEY_ID") or None,
            secret_access_key=env.get("AWS_SECRET_ACCESS_KEY") or None,
            session_token=env.get("AWS_SESSION_TOKEN") or None,
        )

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
            if secret:
                text = text.replace(secret, "***")
        return text
