"""Refuse a job whose sources have groups of the same names, as far as it shows before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations

from handler.errors import GridlineError
from jobs.errors import ConfigError
from jobs.groups.outcome import same_name
from jobs.groups.scan.group_names import groups_of
from jobs.groups.scan.layout import initial_layout
from jobs.sources.columns import Wanted
from jobs.sources.reading import read_columns
from jobs.sources.resolved import ResolvedSource

ROWS = 1 << 16  # of each source are looked at


def require_distinct_groups(names: Sequence[str], sources: Sequence[ResolvedSource]) -> None:
    """Raise an error if sources have the same groups, or one with the name of a dataset of `names`.

    Sources that group a file by the same columns have; of others, the groups of the first rows are compared. Clashes of
    later rows show after training: `outcome.require_distinct_names` refuses the commit.
    """
    grouped = [source for source in sources if source.group_by]
    for first, second in combinations(grouped, 2):
        _require_other_rows(first, second)
    if len(grouped) + bool(names) < 2:
        return
    seen = dict.fromkeys(names, "the configuration")
    for source in grouped:
        for name in _first_groups(source):
            if name in seen:
                raise same_name(name, seen[name], source.name)
            seen[name] = f"dataset {source.name!r}"


def _require_other_rows(first: ResolvedSource, second: ResolvedSource) -> None:
    if (first.group_by, first.prefix) != (second.group_by, second.prefix):
        return
    shared = {fragment.location for fragment in first.fragments} & {fragment.location for fragment in second.fragments}
    if shared:
        columns = ", ".join(map(repr, first.group_by))
        raise ConfigError(
            f"datasets {first.name!r} and {second.name!r} have groups of the same names: both group {min(shared)} by "
            f"{columns}: set 'prefix: {first.name}/' and 'prefix: {second.name}/', so that their groups are named apart"
        )


def _first_groups(source: ResolvedSource) -> list[str]:
    """Return the names of the groups in the first rows of a source; none if these can't be read: the scan says it."""
    wanted = [Wanted(name, "text") for name in source.group_by]
    with suppress(GridlineError):
        for columns in read_columns(source.fragments[:1], wanted, source.s3, ROWS):
            names: list[str] = groups_of(columns, initial_layout(source)).name_m.to_pylist()
            return names
    return []
