"""Withdrawals: the models that rollbacks have taken back. A run does not promote them again until they are released.

A withdrawal names versions, not models, so that it is as small for a million champions as for one. It goes on from
version to version. Whether a model is one of these, `jobs/champions/withdrawn.py` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Withdrawal:
    """The champions of `versions` that are not in `rollback`, the version that a rollback to `restored` has made.

    It concerns `datasets` (empty: all), except those that were `released`.
    """

    rollback: int
    restored: int
    versions: tuple[int, ...]
    reason: str = ""
    datasets: tuple[str, ...] = ()
    released: tuple[str, ...] = ()

    def concerns(self, dataset: str) -> bool:
        """Return whether models of a dataset are withdrawn."""
        return dataset not in self.released and (not self.datasets or dataset in self.datasets)

    def without(self, datasets: frozenset[str]) -> Withdrawal | None:
        """Return the withdrawal after the release of some datasets; None if nothing is left of it."""
        if not self.datasets:
            return Withdrawal(**{**vars(self), "released": tuple(sorted({*self.released, *datasets}))})
        left = tuple(name for name in self.datasets if name not in datasets)
        return Withdrawal(**{**vars(self), "datasets": left}) if left else None

    @property
    def all_versions(self) -> tuple[int, ...]:
        """The versions whose champion tables tell what is withdrawn."""
        return (*self.versions, self.rollback)

    @property
    def words(self) -> str:
        """The rollback, in words."""
        why = f": {self.reason}" if self.reason else ""
        return f"the rollback to version {self.restored} (version {self.rollback}{why})"

    @property
    def sentence(self) -> str:
        """What is withdrawn, in words."""
        first, last = self.versions[0], self.versions[-1]
        of = f"version {first}" if first == last else f"versions {first} to {last}"
        only = f" ({', '.join(self.datasets)})" if self.datasets else ""
        but = f", except {', '.join(self.released)}" if self.released else ""
        return f"champions of {of}{only} are withdrawn by {self.words}{but}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are not empty."""
        return {name: value for name, value in asdict(self).items() if value not in ((), "")}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Withdrawal:
        """Return the withdrawal of `to_json`; unknown keys are ignored. Raises KeyError, TypeError and ValueError."""
        names = {name: tuple(map(str, fields.get(name, ()))) for name in ("datasets", "released")}
        versions = tuple(map(int, fields["versions"]))
        return cls(int(fields["rollback"]), int(fields["restored"]), versions, str(fields.get("reason", "")), **names)
