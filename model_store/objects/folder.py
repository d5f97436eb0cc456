"""The store in a folder: an object is a file, created by an atomic link and made durable by fsync."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_store.errors import MissingObjectError, StoreFullError, StoreProbeError, StoreRefusedError
from model_store.objects.protocol import ObjectInfo

STAGING = ".staging"
STAGING_AGE_S = 24 * 3600.0
REMEDIES = {
    errno.ENOSPC: "free some space, or run 'gridline gc', then run again to continue",
    errno.EDQUOT: "free some space, or run 'gridline gc', then run again to continue",
    errno.ENOTDIR: "a part of the path is a file: set --store to a folder",
    errno.EROFS: "set --store to a folder that can be written",
    errno.EACCES: "check its owner and permissions, or set --store to another",
}
FULL = (errno.ENOSPC, errno.EDQUOT)
CANNOT_LINK = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV)


class FolderObjects:
    """Objects as files below `root`; the folder is made by the first write, and never by a read.

    A new object is written to a staging file, synced, and linked to its name: the link either makes the whole object or
    nothing, and fails when the name is taken. Then the folder is synced: an answered write survives a power cut.
    """

    is_shared = False

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._made: set[Path] = set()

    @property
    def uri(self) -> str:
        return str(self._root)

    @property
    def identity(self) -> str:
        return self.uri

    def exists(self) -> bool:
        with self._translated(""):
            return self._root.is_dir()

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        with self._translated(key), (self._root / key).open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(stop - start)

    def download(self, key: str, path: Path) -> None:
        with self._translated(key):
            shutil.copyfile(self._root / key, path)

    def create(self, key: str, data: bytes) -> bool:
        with self._translated(key, writing=True), self._staged(key, data) as staged:
            try:
                os.link(staged, self._root / key)
            except FileExistsError:
                return (self._root / key).read_bytes() == data
            except OSError as exc:
                if exc.errno in CANNOT_LINK:
                    raise StoreProbeError(
                        f"the file system of {self.uri} can't create a file by an atomic link ({exc.strerror}), so two "
                        "writers could overwrite each other: put the store on a local disk or on S3"
                    ) from exc
                raise
            _sync_folder((self._root / key).parent)
        return True

    def put(self, key: str, data: bytes) -> None:
        with self._translated(key, writing=True), self._staged(key, data) as staged:
            staged.replace(self._root / key)
            _sync_folder((self._root / key).parent)

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        with self._translated(prefix):
            if limit == 1 and prefix > after and (self._root / prefix).is_file():
                keys = [prefix]  # the first of all that start with it: no need to look at the others
            else:
                keys = sorted(key for key in self._walk(prefix) if key.startswith(prefix) and key > after)
        for key in keys[:limit]:
            try:
                status = (self._root / key).stat()
            except FileNotFoundError:
                continue
            yield ObjectInfo(key, status.st_size, status.st_mtime)

    def _walk(self, prefix: str) -> Iterator[str]:
        """Yield every key in the folder that `prefix` begins with; a folder that can't be read is not an empty one."""
        root = str(self._root)
        for folder, folders, names in os.walk(self._root / prefix.rpartition("/")[0], onerror=_raise_unless_missing):
            inside = f"{folder[len(root) + 1 :]}/" if len(folder) > len(root) else ""
            if not inside and STAGING in folders:
                folders.remove(STAGING)
            yield from (inside + name for name in names)

    def folders(self, prefix: str) -> Iterator[str]:
        with self._translated(prefix):
            parent = self._root / prefix
            names = sorted(path.name for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []
        yield from names

    def delete(self, key: str) -> None:
        with self._translated(key):
            (self._root / key).unlink(missing_ok=True)

    def local_path(self, key: str) -> Path | None:
        return self._root / key

    def now(self) -> float:
        return time.time()

    @contextmanager
    def _staged(self, key: str, data: bytes) -> Iterator[Path]:
        self._make_folder((self._root / key).parent)
        staged = self._root / STAGING / uuid.uuid4().hex
        try:
            with staged.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        if not self._made:
            (self._root / STAGING).mkdir(parents=True, exist_ok=True)
            self._sweep_staging()
        if folder in self._made:
            return
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            _sync_folder(path.parent)
        self._made.add(folder)

    def _sweep_staging(self) -> None:
        """Remove the files of killed writers."""
        for path in (self._root / STAGING).iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - STAGING_AGE_S:
                    path.unlink()

    @contextmanager
    def _translated(self, key: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if isinstance(exc, FileNotFoundError) and not writing:
                raise MissingObjectError(self.uri, key) from exc
            if exc.errno in FULL:
                fact = exc.strerror or str(exc)
                raise StoreFullError(self.uri, key, fact, f"{fact}: {REMEDIES[exc.errno]}") from exc
            remedy = REMEDIES.get(exc.errno or 0, "check the path, its owner and the disk")
            raise StoreRefusedError(self.uri, key, f"{exc.strerror or exc}: {remedy}") from exc


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync folders by themselves
            raise
    finally:
        os.close(descriptor)
