"""The groups of all sources of a job: their names, and their models as they are offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.champions.batch import Batch
from jobs.errors import DataError
from jobs.groups.outcome import GroupsOutcome
from jobs.recipe import Policy


def group_batches(policies: Mapping[str, Policy], fleets: Sequence[GroupsOutcome]) -> list[Batch]:
    """Return the models of all sources, part by part, ready to be offered; `policies` are those of the sources."""
    return [
        Batch(challengers, policies[fleet.name])
        for fleet in fleets
        for part in fleet.parts
        for challengers in part.trained
    ]


def require_distinct_names(names: Sequence[str], fleets: Sequence[GroupsOutcome]) -> None:
    """Raise DataError where two sources of a job give one dataset."""
    if not fleets or (len(fleets) == 1 and not names):
        return
    seen = dict.fromkeys(names, "the configuration")
    for fleet in fleets:
        for part in fleet.parts:
            for challengers in part.trained:
                for name in challengers.name_m.to_pylist():
                    if name in seen:
                        raise DataError(
                            f"dataset {name!r} is both of {fleet.name!r} and of {seen[name]!r}: a collection has one "
                            "of each name: give one of the sources another 'name' in a job of its own"
                        )
                    seen[name] = fleet.name
