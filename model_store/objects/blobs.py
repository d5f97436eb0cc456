"""Blobs: bytes that are named by their own sha256, and verified each time they are read."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import CorruptObjectError
from model_store.names import BLOBS
from model_store.objects.protocol import ObjectStore, in_parallel, stat_many

SHA256 = re.compile(r"[0-9a-f]{64}")
EXT = re.compile(r"[a-z0-9]{1,16}")


@dataclass(frozen=True)
class BlobRef:
    """The name of a blob: the sha256 of its bytes in hex, their number, and their kind (`safetensors`, …)."""

    sha256: str
    size_bytes: int
    ext: str

    def __post_init__(self) -> None:
        is_size = isinstance(self.size_bytes, int) and self.size_bytes >= 0
        if not (is_size and SHA256.fullmatch(self.sha256) and EXT.fullmatch(self.ext)):
            raise CorruptObjectError(
                f"blob name {self.sha256!r}.{self.ext!r}", "it is not a sha256, an extension and a size"
            )

    @property
    def key(self) -> str:
        return f"{BLOBS}{self.sha256}.{self.ext}"


def ref_of(data: bytes, ext: str) -> BlobRef:
    """Return the name of the blob that holds `data`."""
    return BlobRef(hashlib.sha256(data).hexdigest(), len(data), ext)


def put_blob(objects: ObjectStore, data: bytes, ext: str) -> BlobRef:
    """Store a blob and return its name; storing it again is harmless and makes it young for gc."""
    ref = ref_of(data, ext)
    objects.put(ref.key, data)
    return ref


def read_blob(objects: ObjectStore, ref: BlobRef) -> bytes:
    """Return the bytes of a blob. Raises MissingObjectError, and CorruptObjectError if they were changed."""
    data = objects.read(ref.key)
    _check(objects, ref, len(data), hashlib.sha256(data).hexdigest())
    return data


def read_blobs(objects: ObjectStore, refs: Iterable[BlobRef]) -> list[bytes]:
    """Return the bytes of several blobs, in order, reading some at once."""
    return in_parallel(lambda ref: read_blob(objects, ref), refs)


def lost_blobs(objects: ObjectStore, refs: Collection[BlobRef]) -> set[BlobRef]:
    """Return the blobs that are missing, or do not have their size; their bytes are not read."""
    infos = stat_many(objects, BLOBS, {ref.key for ref in refs})
    return {ref for ref in refs if (info := infos[ref.key]) is None or info.size_bytes != ref.size_bytes}


def blob_path(objects: ObjectStore, ref: BlobRef, cache_dir: Path) -> Path:
    """Return a file with the blob's bytes, verified: the store's own, or a copy in `cache_dir` for later calls."""
    own = objects.local_path(ref.key)
    if own is not None:
        if not own.exists():
            objects.read(ref.key, 0, 0)  # raises the store's error for a missing object
        _check_file(objects, ref, own)
        return own
    cached = cache_dir / f"{ref.sha256}.{ref.ext}"
    if cached.exists() and (cached.stat().st_size, _sha256(cached)) == (ref.size_bytes, ref.sha256):
        return cached
    cache_dir.mkdir(parents=True, exist_ok=True)
    partial = cache_dir / f".{ref.sha256}.{uuid.uuid4().hex}"
    try:
        objects.download(ref.key, partial)
        _check_file(objects, ref, partial)
        partial.replace(cached)
    finally:
        partial.unlink(missing_ok=True)
    return cached


def _check_file(objects: ObjectStore, ref: BlobRef, path: Path) -> None:
    _check(objects, ref, path.stat().st_size, _sha256(path))


def _check(objects: ObjectStore, ref: BlobRef, size_bytes: int, sha256: str) -> None:
    name = f"{objects.uri}/{ref.key}"
    if size_bytes != ref.size_bytes:
        raise CorruptObjectError(name, f"it has {size_bytes} bytes, and {ref.size_bytes} were written")
    if sha256 != ref.sha256:
        raise CorruptObjectError(name, f"the sha256 of its bytes is {sha256}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
