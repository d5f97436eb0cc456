"""An object store in memory, for tests that ask nothing of a disk or a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from model_store.errors import MissingObjectError
from model_store.objects.protocol import ObjectInfo


class MemoryObjects:
    """Objects of one process; stores of the same name are the same one, as they are for a folder."""

    is_shared = False
    _stores: ClassVar[dict[str, dict[str, tuple[bytes, float]]]] = {}
    _lock = threading.Lock()

    def __init__(self, name: str) -> None:
        self.uri = self.identity = f"memory://{name}"
        self._objects = self._stores.setdefault(name, {})

    def exists(self) -> bool:
        return bool(self._objects)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        if key not in self._objects:
            raise MissingObjectError(self.uri, key)
        return self._objects[key][0][start:stop]

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self.read(key))

    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            return self._objects.setdefault(key, (data, self.now()))[0] == data

    def put(self, key: str, data: bytes) -> None:
        self._objects[key] = (data, self.now())

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        for key in sorted(key for key in self._objects if key.startswith(prefix) and key > after)[:limit]:
            data, modified_at = self._objects[key]
            yield ObjectInfo(key, len(data), modified_at)

    def folders(self, prefix: str) -> Iterator[str]:
        rest = (key.removeprefix(prefix) for key in self._objects if key.startswith(prefix))
        yield from sorted({name.partition("/")[0] for name in rest if "/" in name})

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def local_path(self, key: str) -> Path | None:
        return None

    def now(self) -> float:
        return time.time()
