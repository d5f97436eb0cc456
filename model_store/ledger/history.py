"""The versions of one collection: find the newest, read one, and create the next.

gc records the oldest kept version in the store before it removes blobs:
gc/kept/<collection>/00000000000000000005.json      versions 5 and newer are whole; older ones may have lost blobs
"""

from __future__ import annotations

from model_store.errors import DamagedVersionError, MissingObjectError, UnknownCollectionError, UnknownVersionError
from model_store.ledger.version_json import parse_version
from model_store.ledger.versions import Version
from model_store.names import GC_KEPT, VERSIONS, number_of, numbered, version_prefix
from model_store.objects.protocol import ObjectStore, in_parallel

PAGE = 1000


class History:
    """The versions 1, 2, … of a collection. They are never changed or removed, so the newest is cached."""

    def __init__(self, objects: ObjectStore, collection: str) -> None:
        self._objects = objects
        self._collection = collection
        self._prefix = version_prefix(collection)
        self._kept_prefix = f"{GC_KEPT}{collection}/"
        self._newest: Version | None = None

    def head(self) -> Version | None:
        """Return the newest version, or None. One request, or two if a version is new."""
        cached = self._newest.number if self._newest else 0
        number = self.head_number()
        if number > cached:
            self._remember(self.read(number))
        return self._newest

    def head_number(self) -> int:
        """Return the newest number, or 0, without reading the version.

        One request for less than 1000 numbers after the cached version, else exponential search.
        """
        last, is_full = self._page(self._newest.number if self._newest else 0)
        step = PAGE
        while is_full:  # exponential search, then back to single pages
            beyond, _ = self._page(last + step, limit=1)
            if beyond > last + step:
                last, step = beyond, step * 2
            elif step > PAGE:
                step //= 2
            else:
                last, is_full = self._page(last)
        return last

    def read(self, number: int | None = None) -> Version:
        """Return one version, the newest by default.

        Raises UnknownCollectionError, UnknownVersionError and CorruptObjectError.
        """
        cached = self.head() if number is None else self._newest
        if cached is not None and number in (None, cached.number):
            return cached
        if number is None:
            raise self.unknown_collection()
        try:
            data = self._objects.read(numbered(self._prefix, number))
        except MissingObjectError as exc:
            last = self.head_number()
            raise (self._unknown_version(number, last) if last else self.unknown_collection()) from exc
        return parse_version(self._objects, self._collection, number, data)

    def read_whole(self, number: int) -> Version | None:
        """Return one version, or None if its commit is damaged or missing."""
        try:
            return self.read(number)
        except (DamagedVersionError, UnknownVersionError):
            return None

    def newest_whole(self) -> Version | None:
        """Return the newest version whose commit can be read, or None."""
        return next(filter(None, map(self.read_whole, range(self.head_number(), 0, -1))), None)

    def create(self, version: Version, data: bytes) -> bool:
        """Create a version; return False if another writer has created its number."""
        created = self._objects.create(version.key, data)
        if created:
            self._remember(version)
        return created

    def overtaken(self, number: int) -> Version:
        """Return the newest version after another writer created `number`, even if the listing lags behind."""
        self._remember(self.read(number))
        return self.head() or self.read(number)

    def newest_first(self, first: int = 1) -> list[Version]:
        """Return the versions from the newest to `first`, without lost ones, reading several at once."""
        head = self.head()
        if head is None:
            return []
        return in_parallel(self.read, [n for n in range(head.number, first - 1, -1) if n not in head.lost])

    def _remember(self, version: Version) -> None:
        if self._newest is None or version.number > self._newest.number:
            self._newest = version

    def oldest_kept(self) -> int:
        """Return the oldest version whose blobs gc has never been asked to remove."""
        return max((number_of(info.key) or 1 for info in self._objects.list(self._kept_prefix)), default=1)

    def keep_from(self, number: int) -> None:
        """Record that the versions before `number` may lose their blobs from now on."""
        self._objects.create(numbered(self._kept_prefix, number), b"{}")

    def unknown_collection(self) -> UnknownCollectionError:
        """Return the error of a collection that has no version."""
        others = list(self._objects.folders(VERSIONS))
        return UnknownCollectionError(
            f"collection '{self._collection}' is not in {self._objects.uri}, which has {others}: train it first"
        )

    def _unknown_version(self, number: int, last: int) -> UnknownVersionError:
        return UnknownVersionError(
            f"collection '{self._collection}' in {self._objects.uri} has versions 1 to {last}, and not {number}"
        )

    def _page(self, after: int, limit: int = PAGE) -> tuple[int, bool]:
        """Return the last of up to `limit` numbers after `after`, else `after`, and whether the limit was reached."""
        start = numbered(self._prefix, after) if after else ""
        numbers = [
            number
            for info in self._objects.list(self._prefix, start, limit)
            if (number := number_of(info.key)) is not None
        ]
        return (numbers[-1] if numbers else after), len(numbers) == limit
