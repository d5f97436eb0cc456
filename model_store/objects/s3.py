"""The store in a bucket: the only module that imports boto3, and translates its errors."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.exceptions
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ResponseStreamingError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from model_store.errors import (
    MissingObjectError,
    S3SettingsError,
    StoreError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from model_store.objects.protocol import ObjectInfo
from model_store.objects.retry import Retry, TransientError, with_retries, within
from model_store.objects.s3_refusals import (
    CAUSES,
    CONDITION_FAILED,
    FULL,
    MISSING_KEY,
    cause_of,
    is_transient,
    unknown_host,
)
from model_store.objects.s3_settings import S3Settings
from model_store.objects.server_clock import ServerClock
from model_store.objects.traffic import TRAFFIC, count_requests

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Answer = TypeVar("Answer")
PAGE = 1000
BROKEN_CONNECTION = (
    botocore.exceptions.ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    ResponseParserError,
    HTTPError,
)
URL = re.compile(r'(?: URL)?: "https?://[^"]*"')  # in messages of boto3; ours has the bucket, the key and the endpoint
_session_lock = Lock()


class S3Objects:
    """Objects below `prefix` in a bucket of any S3-compatible server that honours `If-None-Match: *`.

    boto3 makes one attempt a call, and the retries are ours: bounded in time as well, and with a repeated conditional
    put visible, so that its 412 is never taken for somebody else's object.
    """

    is_shared = True

    def __init__(self, bucket: str, prefix: str, settings: S3Settings) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._settings = settings
        self._client = _new_client(settings)
        self._clock = ServerClock()

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def identity(self) -> str:
        return f"{self._settings.endpoint_url or 'aws'} {self.uri}"

    def exists(self) -> bool:
        return True

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        if stop is not None and stop <= start:  # a range of HTTP can't be empty
            return b""
        span = {} if (start, stop) == (0, None) else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        return self._call(key, lambda: bytes(self._get(key, span)["Body"].read()))

    def download(self, key: str, path: Path) -> None:
        def attempt() -> None:
            answer = self._get(key, {})
            with path.open("wb") as file:
                shutil.copyfileobj(answer["Body"], file, 1 << 20)
            if path.stat().st_size != answer["ContentLength"]:
                raise TransientError("the answer was cut")

        self._call(key, attempt)

    def create(self, key: str, data: bytes) -> bool:
        try:
            while not self._call(key, lambda: self._put_if_absent(key, data)):
                with suppress(MissingObjectError):  # it was removed since the condition failed: try again
                    return self.read(key) == data
        except StoreUnreachableError:
            with suppress(StoreError), within(0):  # the last attempt may have landed
                if self.read(key) == data:
                    return True
            raise
        return True

    def put(self, key: str, data: bytes) -> None:
        self._call(key, lambda: self._put(key, data, {}))

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            page = self._page(prefix, StartAfter=self._prefix + after if after else "", MaxKeys=size)
            for item in page.get("Contents", []):
                after = item["Key"].removeprefix(self._prefix)
                yield ObjectInfo(after, item["Size"], item["LastModified"].timestamp())
            if not page["IsTruncated"]:
                return
            left = None if left is None else left - size

    def folders(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._page(prefix, Delimiter="/", MaxKeys=PAGE, **token)
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"].removeprefix(self._prefix + prefix).rstrip("/")
            if not page["IsTruncated"]:
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        self._call(key, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key))

    def local_path(self, key: str) -> Path | None:
        return None

    def now(self) -> float:
        if not self._clock.is_known:
            self._page("", MaxKeys=1)
        return self._clock.now()

    def _get(self, key: str, span: Mapping[str, str]) -> Any:
        return self._noted(self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **span))  # type: ignore[arg-type]

    def _put(self, key: str, data: bytes, condition: Mapping[str, str]) -> None:
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        where = {"Bucket": self._bucket, "Key": self._prefix + key}
        self._noted(self._client.put_object(Body=data, ContentMD5=digest, **where, **condition))  # type: ignore[arg-type]

    def _put_if_absent(self, key: str, data: bytes) -> bool:
        try:
            self._put(key, data, {"IfNoneMatch": "*"})
        except ClientError as exc:
            if _code(exc) in CONDITION_FAILED:
                return False
            raise
        return True

    def _page(self, prefix: str, **arguments: Any) -> Any:
        arguments |= {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        return self._call(prefix, lambda: self._noted(self._client.list_objects_v2(**arguments)))

    def _noted(self, answer: Any) -> Any:
        self._clock.note(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
        return answer

    def _call(self, key: str, attempt: Callable[[], Answer]) -> Answer:
        def translated() -> Answer:
            try:
                with self._translated(key):
                    return attempt()
            except TransientError:
                TRAFFIC.failed()
                raise

        retry = Retry(f"bucket '{self._bucket}' at {self._endpoint}", self._settings.retry)
        try:
            return with_retries(translated, retry)
        except TransientError as exc:
            where = f"bucket '{self._bucket}', key '{self._prefix + key}' at {self._endpoint}"
            cause = f"{exc}; tried for {retry.limit_s:g} s: check the server, and AWS_ENDPOINT_URL"
            raise StoreUnreachableError(where, cause) from exc

    @property
    def _endpoint(self) -> str:
        return self._settings.endpoint_url or "AWS"

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as exc:
            raise self._from_answer(key, exc) from exc
        except BROKEN_CONNECTION as exc:
            if isinstance(exc, SSLError):
                raise self._refused(key, f"TLS failed: {exc}: check the endpoint and AWS_CA_BUNDLE") from exc
            if not self._clock.is_known and (host := unknown_host(self._client.meta.endpoint_url)) is not None:
                cause = f"no host has the name '{host}': correct AWS_ENDPOINT_URL, or AWS_REGION"
                raise self._refused(key, cause) from exc
            raise TransientError(self._settings.redact(URL.sub("", " ".join(str(exc).split())))) from exc
        except NoCredentialsError as exc:
            raise self._refused(key, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from exc
        except ParamValidationError as exc:
            raise self._refused(key, CAUSES["InvalidBucketName"]) from exc
        except RecursionError as exc:  # boto3 follows a server that always answers with another region
            raise self._refused(key, CAUSES["PermanentRedirect"]) from exc
        except BotoCoreError as exc:
            raise self._refused(key, " ".join(str(exc).split())) from exc

    def _from_answer(self, key: str, exc: ClientError) -> Exception:
        answer = exc.response["ResponseMetadata"]
        code, status, headers = _code(exc), answer.get("HTTPStatusCode", 0), answer.get("HTTPHeaders", {})
        self._clock.note(headers.get("date"))
        if code in MISSING_KEY:
            return MissingObjectError(self.uri, key)
        if is_transient(code, status):
            asked = headers.get("retry-after", "")
            return TransientError(f"the server answered {status} {code}", float(asked) if asked.isdigit() else 0.0)
        message = exc.response.get("Error", {}).get("Message", "")
        cause = cause_of(code, status, message, self._bucket)
        if FULL & {code, str(status)}:
            return StoreFullError(self._bucket, self._prefix + key, f"the storage is full ({code or status})", cause)
        return self._refused(key, cause)

    def _refused(self, key: str, cause: str) -> StoreRefusedError:
        return StoreRefusedError(self._bucket, self._prefix + key, self._settings.redact(cause))


def _code(exc: ClientError) -> str:
    return exc.response.get("Error", {}).get("Code", "")


def _new_client(settings: S3Settings) -> S3Client:
    """Return a client; with an endpoint of its own it signs as every S3-compatible server expects."""
    settings.require_usable()
    custom = settings.endpoint_url is not None
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=32,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if custom else "auto"},
        tcp_keepalive=True,
    )
    try:
        with _session_lock:  # making a client is not safe between threads, and much of its cost is the session's
            client = _session().client(
                "s3",
                endpoint_url=settings.endpoint_url,
                region_name=settings.client_region(),
                aws_access_key_id=settings.access_key_id,
                aws_secret_access_key=settings.secret_access_key,
                aws_session_token=settings.session_token,
                config=config,
            )
        count_requests(client.meta.events)
        return client
    except (BotoCoreError, ValueError) as exc:  # a profile that is not there, a configuration file that is damaged
        reason = settings.redact(" ".join(str(exc).split()))
        raise S3SettingsError(f"S3 can't be used: {reason}: check the AWS variables and ~/.aws/config") from exc


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()
