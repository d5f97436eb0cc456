"""Open files by their location, on this machine or in S3, and translate the errors of both."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyarrow import fs

from jobs.errors import DataError, SourceError
from model_store.objects.s3_settings import S3Settings

S3_PREFIX = "s3://"
MAX_ATTEMPTS = 3
UNREACHABLE = ("NETWORK_CONNECTION", "curlCode", "SERVICE_UNAVAILABLE", "REQUEST_TIMEOUT", "SLOW_DOWN")


def open_filesystem(location: str, s3: S3Settings) -> tuple[Any, str]:
    """Return the pyarrow file system that holds `location`, and the path of it there.

    Raises DataError for an s3:// location with an empty component, and S3SettingsError.
    """
    if location.startswith(S3_PREFIX):
        s3.require_usable()
        return _s3_filesystem(s3), _s3_path(location)
    return fs.LocalFileSystem(), location.removeprefix("file://")


def _s3_path(location: str) -> str:
    path = location.removeprefix(S3_PREFIX)
    components = path.removesuffix("/").split("/")
    if not components[0]:
        raise DataError(f"{location}: the path names no bucket: write s3://BUCKET/PATH")
    if "" in components:
        before, right = components[components.index("") - 1], "/".join(filter(None, components))
        raise DataError(f"{location}: the path has an empty component after '{before}/': write {S3_PREFIX}{right}")
    return path


@lru_cache(maxsize=8)
def _s3_filesystem(s3: S3Settings) -> Any:
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=MAX_ATTEMPTS)
    return fs.S3FileSystem(**s3.pyarrow_arguments(), retry_strategy=retries)


def _on_this_node(location: str) -> str:
    """Return where a file was looked for that the driver has found, and what to do."""
    if location.startswith(S3_PREFIX):
        return ": it was removed while it was read: start again"
    inside = "" if Path(location).is_absolute() else f", in {Path.cwd()}"
    return f" on node '{socket.gethostname()}'{inside}: put it in a folder that all nodes share, or in a bucket"


@contextmanager
def reading(location: str, s3: S3Settings) -> Iterator[None]:
    """Translate errors of a file system about `location` into DataError, or SourceError if it can't be reached."""
    try:
        yield
    except FileNotFoundError as exc:
        raise DataError(f"{location}: no such file{_on_this_node(location)}") from exc
    except PermissionError as exc:
        raise DataError(f"{location}: the file may not be read: check its permissions") from exc
    except OSError as exc:
        reason = " ".join(s3.redact(str(exc)).split()).rstrip(".")
        if any(sign in reason for sign in UNREACHABLE):
            raise SourceError(f"{location}: S3 can't be reached: {reason}. Check AWS_ENDPOINT_URL") from exc
        raise DataError(f"{location}: the file can't be read: {reason}. Replace it, or check 'format'") from exc
