"""Scan a source on Ray: each task sums some fragments by group, and other tasks add the sums up in a tree.

Workers need no shared disk: tasks exchange results through the object store, and only the driver writes to the ledger.
One task reads each row. For the closed form, tasks send only sums; for minibatches, they send each encoded row to the
part of its group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.cluster.chunking import chunk_by_size
from jobs.cluster.tasks import Outcome, RunLimits, Task
from jobs.errors import DataError, SourceError
from jobs.groups.scan.layout import Layout, initial_layout
from jobs.groups.scan.room import USUAL_COPIES, require_room, sums_bytes
from jobs.groups.scan.survey import needs_survey, survey, with_surveys
from jobs.groups.steps import phases_of
from jobs.progress import Progress
from jobs.recipe import Recipe
from jobs.sources.choosing import choose_columns
from jobs.sources.columns import Fragment
from jobs.sources.resolved import ResolvedSource, dataset_in_errors

if TYPE_CHECKING:  # Ray takes half a second to import, and not every verb needs it
    from jobs.cluster.ray_cluster import Cluster

FAN_IN = 16
MAX_PARTS = 1024
PART_BYTES = 24 * 2**20  # of a source, for each part: some thousand groups of a hundred rows
SCAN_BYTES = 256 * 2**20  # of a source, for each scan at most, so that none lasts long; a quarter if it holds rows

Sums = dict[int, list[Any]]  # references to the sums of each part


@dataclass(eq=False)
class SourceFailedError(Exception):
    """A whole source could not be trained: `error` is that of one of its tasks, or of its rows."""

    error: Exception


@dataclass(frozen=True)
class Scanner:
    """Scans a source on a cluster."""

    cluster: Cluster
    source: ResolvedSource
    recipe: Recipe
    limits: RunLimits
    progress: Progress

    def num_parts(self) -> int:
        """Return into how many parts the groups are divided, if no earlier run has divided them."""
        return min(MAX_PARTS, max(self._slots, -(-self.source.size_bytes // PART_BYTES))) if self.source.group_by else 1

    def sums(self, num_parts: int, wanted: Sequence[int]) -> tuple[Layout, Sums]:
        """Return how rows were read, and at most `FAN_IN` references to the sums of each wanted part of `num_parts`.

        Raises SourceFailedError if a file can't be read, or if the source has no rows.
        """
        source = self.source
        rows_travel = phases_of(self.recipe, source).rows_travel
        shares = scan_shares(source.fragments, self._slots, SCAN_BYTES // (4 if rows_travel else 1))
        self.progress.say(f"{source.name}: {len(source.fragments)} fragments in {len(shares)} scans")
        with self.progress.watch.phase("scan"):
            layout, most_groups = self._layout(shares)
            scans = self._scan(shares, layout, num_parts, most_groups)
        if not any(outcome.value for outcome in scans):
            named = f"dataset {source.name!r}: {', '.join(source.locations)}"
            raise SourceFailedError(DataError(f"{named}: the table is empty: it has no rows: add rows"))
        sums = {part: [outcome.parts[part] for outcome in scans] for part in wanted}
        del scans  # they refer to the sums, which are freed once they are added up
        return layout, self._add_up(sums)

    @property
    def _slots(self) -> int:
        return max(1, int(self.cluster.resources.get("CPU", 1)))

    def _layout(self, shares: Sequence[tuple[Fragment, ...]]) -> tuple[Layout, int]:
        """Return how rows are read, and the most groups of a share; a survey reads them for levels and fill values.

        Without a survey the groups are not counted: 0. Raises SourceFailedError if the sums of a share take more memory
        than any node has.
        """
        try:
            layout = initial_layout(choose_columns(self.source))
        except (DataError, SourceError) as exc:
            raise SourceFailedError(exc) from exc
        if not needs_survey(layout.card.features):
            return layout, 0
        name, arguments = self.source.name, (layout, self.source.s3, self.recipe.memory_mb)
        tasks = [Task(f"{name} survey {at}", survey, (share, *arguments)) for at, share in enumerate(shares)]
        with self.progress.counting(f"{name}: surveys", len(tasks)) as advance:
            surveys = [each.value for each in self._run(tasks, lambda each: advance(each.key))]
        layout, most_groups = with_surveys(layout, surveys), max(len(each.name_m) for each in surveys)
        try:
            with dataset_in_errors(name):
                require_room(most_groups, layout, self.cluster.node_bytes, place="the largest node")
        except DataError as exc:
            raise SourceFailedError(exc) from exc
        return layout, most_groups

    def _scan(
        self, shares: Sequence[tuple[Fragment, ...]], layout: Layout, num_parts: int, most_groups: int
    ) -> list[Outcome]:
        name, scan = self.source.name, phases_of(self.recipe, self.source).scan
        arguments = (self.cluster.put(layout), self.source.s3, self.recipe.memory_mb, num_parts)
        memory = USUAL_COPIES * sums_bytes(most_groups, layout)
        tasks = [
            Task(f"{name} scan {at}", scan, (share, *arguments), num_parts=num_parts, memory_bytes=memory)
            for at, share in enumerate(shares)
        ]
        sizes = {task.key: sum(f.size_bytes for f in share) for task, share in zip(tasks, shares, strict=True)}
        with self.progress.measuring(f"{name}: reading", sum(sizes.values())) as advance:
            return self._run(tasks, lambda each: advance(sizes[each.key], each.value))

    def _add_up(self, sums: Sums) -> Sums:
        """Return, for each part, at most `FAN_IN` references to its sums: more are added up in a tree first."""
        add_up = phases_of(self.recipe, self.source).add_up
        while any(len(references) > FAN_IN for references in sums.values()):
            tasks, parts = [], []
            for part, references in sums.items():
                for start in range(0, len(references), FAN_IN):
                    group = tuple(references[start : start + FAN_IN])
                    tasks.append(Task(f"sum {part} {start}", add_up, group, num_parts=1))
                    parts.append(part)
            sums = {part: [] for part in sums}
            for part, outcome in zip(parts, self._run(tasks), strict=True):
                sums[part] += outcome.parts
        return sums

    def _run(self, tasks: Sequence[Task], advance: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
        """Return the outcomes in the order of the tasks. Raises SourceFailedError if a task failed."""
        outcomes = {}
        for outcome in self.cluster.run(tasks, self.limits):
            if outcome.error is not None:
                raise SourceFailedError(outcome.error)
            outcomes[outcome.key] = outcome
            advance(outcome)
        return [outcomes[task.key] for task in tasks]


def scan_shares(fragments: Sequence[Fragment], slots: int, most_bytes: int) -> list[tuple[Fragment, ...]]:
    """Return the fragments of each scan task: neighbours together, some tasks for each slot, none too large."""
    total = sum(fragment.size_bytes for fragment in fragments)
    limit = max(1, min(most_bytes, -(-total // (2 * slots))))
    return [tuple(share) for share in chunk_by_size(fragments, lambda fragment: fragment.size_bytes, limit)]
