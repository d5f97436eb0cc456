"""From an address to the object store behind it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from model_store.errors import InvalidNameError
from model_store.objects.protocol import ObjectStore
from model_store.objects.s3_settings import S3Settings


def open_objects(uri: str, settings: S3Settings | None = None) -> ObjectStore:
    """Return the object store at `s3://bucket/prefix`, `file:///folder` or a folder. Nothing is contacted yet.

    `settings` are those of the environment unless given. Raises InvalidNameError for any other kind of address.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        from model_store.objects.folder import FolderObjects

        return FolderObjects(Path(uri).expanduser())
    if scheme == "file":
        from model_store.objects.folder import FolderObjects

        return FolderObjects(Path(unquote(urlsplit(uri).path)))
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise InvalidNameError(f"store '{uri}' is not an address: give s3://bucket/prefix or the path of a folder")
    from model_store.objects.s3 import S3Objects

    return S3Objects(bucket, prefix.strip("/"), settings or S3Settings.from_environment(os.environ))
