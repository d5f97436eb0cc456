"""The versions of one collection: finding the newest, reading one, and creating the next."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from model_store.errors import MissingObjectError, UnknownCollectionError, UnknownVersionError
from model_store.ledger.versions import Version, parse_version
from model_store.names import number_of, numbered, version_prefix
from model_store.objects.protocol import ObjectStore

PAGE = 1000
PARALLEL_READS = 8


class History:
    """The versions 1, 2, … of a collection. None is ever changed or removed: what was seen once can be remembered."""

    def __init__(self, objects: ObjectStore, collection: str) -> None:
        self._objects = objects
        self._collection = collection
        self._prefix = version_prefix(collection)
        self._newest: Version | None = None

    def head(self) -> Version | None:
        """Return the newest version, or None if there is none. One request if nothing is new, two if something is."""
        known = self._newest.number if self._newest else 0
        number = self._last_number(known)
        if number > known:
            self._remember(self.read(number))
        return self._newest

    def head_number(self) -> int:
        """Return the newest number, 0 if there is none, without reading the version."""
        return self._last_number(self._newest.number if self._newest else 0)

    def read(self, number: int) -> Version:
        """Return one version. Raises UnknownVersionError and CorruptObjectError."""
        if self._newest is not None and self._newest.number == number:
            return self._newest
        try:
            data = self._objects.read(numbered(self._prefix, number))
        except MissingObjectError as exc:
            raise self._unknown(number) from exc
        return parse_version(self._objects, self._collection, number, data)

    def create(self, version: Version, data: bytes) -> bool:
        """Create a version; False if someone else's has its number."""
        created = self._objects.create(version.key, data)
        if created:
            self._remember(version)
        return created

    def overtaken(self, number: int) -> Version:
        """Return the newest version after somebody else created `number`, also where the listing lags behind."""
        self._remember(self.read(number))
        return self.head() or self.read(number)

    def newest_first(self) -> Iterator[Version]:
        """Yield every version from the newest to the first, reading some at once."""
        head = self.head()
        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            yield from pool.map(self.read, range(head.number if head else 0, 0, -1))

    def _remember(self, version: Version) -> None:
        if self._newest is None or version.number > self._newest.number:
            self._newest = version

    def _unknown(self, number: int) -> UnknownCollectionError | UnknownVersionError:
        last = self._last_number(0)
        where = f"in {self._objects.uri}"
        if not last:
            return UnknownCollectionError(
                f"collection '{self._collection}' is not {where}: see 'gridline models list', or train it first"
            )
        return UnknownVersionError(
            f"collection '{self._collection}' {where} has versions 1 to {last}, and not {number}"
        )

    def _last_number(self, known: int) -> int:
        """Return the newest number, given one that exists or 0: one request for up to 999 new ones, else a gallop."""
        last, is_full = self._page(known)
        step = PAGE
        while is_full:  # gallop ahead while there is something behind each leap
            beyond, _ = self._page(last + step, limit=1)
            if beyond > last + step:
                last, step = beyond, step * 2
            elif step > PAGE:
                step //= 2
            else:
                last, is_full = self._page(last)
        return last

    def _page(self, after: int, limit: int = PAGE) -> tuple[int, bool]:
        """Return the last number among the `limit` behind `after`, or `after`, and whether there were as many."""
        start = numbered(self._prefix, after) if after else ""
        numbers = [
            number
            for info in self._objects.list(self._prefix, start, limit)
            if (number := number_of(info.key)) is not None
        ]
        return (numbers[-1] if numbers else after), len(numbers) == limit
