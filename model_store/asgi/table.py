"""What a server has registered: the versions of each collection, and which is the default one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Registered:
    """A version: the file name of its archive, the folder of its unpacked models, and how many workers it was given.

    Without workers it is not loaded. Each worker answers for every version that is.
    """

    collection: str
    version: str
    file_name: str
    folder: str
    workers: int


@dataclass(frozen=True)
class ModelTable:
    """The registered versions, in the order of their registration, and the default version of each collection."""

    versions: tuple[Registered, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)

    def of(self, collection: str) -> tuple[Registered, ...]:
        """Return the versions of a collection; none if it is not registered."""
        return tuple(one for one in self.versions if one.collection == collection)

    def find(self, collection: str, version: str) -> Registered | None:
        """Return a version, or None."""
        return next((one for one in self.of(collection) if one.version == version), None)

    def adding(self, new: Registered) -> ModelTable:
        """Return the table with one more version, which is the default if it is the first of its collection."""
        return ModelTable((*self.versions, new), {new.collection: new.version, **self.defaults})

    def without(self, gone: Registered) -> ModelTable:
        """Return the table without a version."""
        left = tuple(one for one in self.versions if one != gone)
        collections = {one.collection for one in left}
        return ModelTable(left, {name: version for name, version in self.defaults.items() if name in collections})

    def scaled(self, changed: Registered, workers: int) -> ModelTable:
        """Return the table in which a version has this number of workers."""
        return replace(
            self,
            versions=tuple(replace(one, workers=workers) if one == changed else one for one in self.versions),
        )

    def with_default(self, one: Registered) -> ModelTable:
        """Return the table in which a version is the default of its collection."""
        return replace(self, defaults={**self.defaults, one.collection: one.version})

    @property
    def num_workers(self) -> int:
        """The largest number of workers of a version."""
        return max((one.workers for one in self.versions), default=0)

    def to_document(self) -> dict[str, Any]:
        """Return the table as JSON values."""
        return {"versions": [asdict(one) for one in self.versions], "defaults": dict(self.defaults)}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> ModelTable:
        """Return the table of such JSON values."""
        return cls(tuple(Registered(**one) for one in document["versions"]), document["defaults"])
