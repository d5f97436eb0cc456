"""From an address to the object store behind it, by the scheme: a new store is a class and a line here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from model_store.errors import InvalidNameError
from model_store.objects.protocol import ObjectStore
from model_store.objects.s3_settings import S3Settings


def open_objects(uri: str, settings: S3Settings | None = None) -> ObjectStore:
    """Return the object store at `s3://bucket/prefix`, `file:///folder` or a folder. Nothing is contacted yet.

    `settings` are those of the environment unless given. Raises InvalidNameError for any other kind of address.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _folder(str(Path(uri).expanduser()), settings)
    if scheme not in OPENERS:
        raise InvalidNameError(f"store '{uri}' is not an address: give s3://bucket/prefix or the path of a folder")
    return OPENERS[scheme](rest, settings)


def _folder(rest: str, settings: S3Settings | None) -> ObjectStore:
    from model_store.objects.folder import FolderObjects

    return FolderObjects(Path(rest))


def _file(rest: str, settings: S3Settings | None) -> ObjectStore:
    host, _, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise InvalidNameError(f"store 'file://{rest}' names the host {host!r}: give file:///PATH, or a path alone")
    return _folder("/" + unquote(path), settings)


def _s3(rest: str, settings: S3Settings | None) -> ObjectStore:
    from model_store.objects.s3 import S3Objects

    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise InvalidNameError("store 's3://' names no bucket: give s3://bucket/prefix")
    return S3Objects(bucket, prefix.strip("/"), settings or S3Settings.from_environment(os.environ))


# What follows `://`, and the settings of S3 where the caller has them, to the store.
OPENERS: dict[str, Callable[[str, S3Settings | None], ObjectStore]] = {
    "file": _file,
    "s3": _s3,
}
