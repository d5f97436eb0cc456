"""Open files by their location, on this machine or in S3, translate the errors of both, and read again after some."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pyarrow import fs

from jobs.errors import DataError, SourceError
from model_store.objects.retry import Retry
from model_store.objects.s3_refusals import unknown_host
from model_store.objects.s3_settings import S3Settings

S3_PREFIX = "s3://"
MAX_ATTEMPTS = 2  # of pyarrow for each request, which no signal interrupts; `read_again` has the others
UNREACHABLE = (
    *("NETWORK_CONNECTION", "curlCode", "SERVICE_UNAVAILABLE", "REQUEST_TIMEOUT", "SLOW_DOWN", "THROTTLING"),
    *("INTERNAL_FAILURE", "HTTP status 500", "HTTP status 502", "HTTP status 503", "HTTP status 504"),
)
NO_HOST = "curlCode: 6"

Parameters = ParamSpec("Parameters")
Read = TypeVar("Read")


class AwayError(SourceError):
    """A storage that does not answer, and may answer later."""


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
            if NO_HOST in reason and (host := unknown_host(s3.endpoint_url or "")) is not None:
                raise SourceError(f"{location}: no host has the name '{host}': correct AWS_ENDPOINT_URL") from exc
            raise AwayError(f"{location}: S3 can't be reached: {reason}. Check AWS_ENDPOINT_URL") from exc
        raise DataError(f"{location}: the file can't be read: {reason}. Replace it, or check 'format'") from exc


def read_again(read: Callable[Parameters, Read]) -> Callable[Parameters, Read]:
    """Let a function read again while S3 does not answer, for as long as its argument of type S3Settings says.

    Raises SourceError at the end of that time.
    """

    @wraps(read)
    def again(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Read:
        retry = retry_of(next(each for each in (*args, *kwargs.values()) if isinstance(each, S3Settings)))
        while True:
            try:
                return read(*args, **kwargs)
            except AwayError as exc:
                pause_or_raise(exc, retry)

    return again


def retry_of(s3: S3Settings) -> Retry:
    """Return the time that a reading has."""
    return Retry(f"S3 at {s3.endpoint_url or 'AWS'}", s3.retry)


def pause_or_raise(error: AwayError, retry: Retry) -> None:
    """Wait for the next attempt. Raises SourceError if there is none."""
    if not retry.pause("a source can't be read"):
        raise SourceError(f"{error} (tried for {retry.limit_s:g} s)") from error


@read_again
def stamps_of(locations: Sequence[str], s3: S3Settings) -> list[tuple[str, int, int]]:
    """Return location, size and time of change of files in S3."""
    filesystem, _ = open_filesystem(locations[0], s3)
    with reading(locations[0], s3):
        infos = filesystem.get_file_info([location.removeprefix(S3_PREFIX) for location in locations])
    return [(location, info.size, info.mtime_ns) for location, info in zip(locations, infos, strict=True)]
