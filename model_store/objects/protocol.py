"""A store of immutable objects: the few verbs over bytes that the ledger needs, on a folder or on S3.

A key is a path relative to the store's URI, with `/` between its parts. Every implementation passes the contract suite
in `tests/integration/test_store_contract.py`; docs/extending.md shows how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

PARALLEL_CALLS = 8
LIST_FROM = 16
PAGE = 1000

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ObjectInfo:
    """A stored object: its key, size, and when it was written, in seconds since the epoch by the store's own clock."""

    key: str
    size_bytes: int
    modified_at: float


class ObjectStore(Protocol):
    """What the ledger asks of a storage. Every method may raise StoreUnreachableError and StoreRefusedError."""

    @property
    def uri(self) -> str:
        """The address that `open_objects` was given, without a slash at its end."""

    @property
    def identity(self) -> str:
        """A text that differs between two places which could keep different promises: address and endpoint."""

    @property
    def is_shared(self) -> bool:
        """Whether writers reach it over a network, so that atomic creation needs proof under concurrency."""

    def exists(self) -> bool:
        """Return whether the address exists; True if only a read can find out."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of an object. Raises MissingObjectError."""

    def download(self, key: str, path: Path) -> None:
        """Write an object to a new file without holding it in memory. Raises MissingObjectError."""

    def create(self, key: str, data: bytes) -> bool:
        """Store an object if the key is free, atomically, and make it durable.

        Returns True if the key now holds `data`, and False if it holds something else. It survives a lost
        acknowledgement: whatever was unclear is read back and compared before it answers.
        """

    def put(self, key: str, data: bytes) -> None:
        """Store an object whose key is named by its content: writing it again changes nothing but its age."""

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix` and sorts behind `after`, in order of their keys."""

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names that follow `prefix` (which ends with `/`) up to their next slash, in order."""

    def delete(self, key: str) -> None:
        """Remove an object; a missing object is no error."""

    def local_path(self, key: str) -> Path | None:
        """Return the file that holds an object, to be memory-mapped, or None if the store has no files."""

    def now(self) -> float:
        """Return the store's own time, in seconds since the epoch, comparable with `ObjectInfo.modified_at`."""


def stat(objects: ObjectStore, key: str) -> ObjectInfo | None:
    """Return the size and the time of one object, or None if it is not there; one request."""
    return next((info for info in objects.list(key, limit=1) if info.key == key), None)


def stat_many(objects: ObjectStore, prefix: str, keys: Collection[str]) -> dict[str, ObjectInfo | None]:
    """Return the size and the time of each of these objects below `prefix`; None for one that is not there.

    One request for a key. Many keys are listed first, a thousand a request, unless the store has far more objects.
    """
    listed: dict[str, ObjectInfo] = {}
    if len(keys) >= LIST_FROM:
        listed = {info.key: info for info in objects.list(prefix, limit=PAGE * len(keys) // 2)}
    ordered = sorted(keys)
    return dict(zip(ordered, in_parallel(lambda key: listed.get(key) or stat(objects, key), ordered), strict=True))


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the results of a function for each item, in order, with several calls at once."""
    each = list(items)
    if len(each) < 2:
        return list(map(function, each))
    contexts = [copy_context() for _ in each]  # the time that calls have is that of this thread
    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        return list(pool.map(lambda context, item: context.run(function, item), contexts, each))
