"""A source that is scanned on Ray: each task sums some fragments by group, and the sums are added up in a tree.

Nothing assumes a shared disk: what tasks hand to each other and to the driver goes through the object store, and the
driver alone writes to the ledger. Rows are read by one task each. In closed form only their sums travel; for
minibatches each row goes, encoded, to the part of its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.cluster.shares import chunk_by_size
from jobs.cluster.tasks import Outcome, RunLimits, Task
from jobs.errors import DataError
from jobs.groups.scan.layout import initial_layout, with_surveys
from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.scan import ScanSummary, needs_survey, survey
from jobs.groups.steps import phases_of
from jobs.progress import Progress
from jobs.recipe import Recipe
from jobs.sources.columns import Fragment
from jobs.sources.resolved import ResolvedSource

if TYPE_CHECKING:  # Ray takes half a second to import, and not every verb needs it
    from jobs.cluster.ray_cluster import Cluster

FAN_IN = 16
MAX_PARTS = 1024
PART_BYTES = 24 * 2**20  # of source data to a part: some thousand groups of a hundred rows
SCAN_BYTES = 256 * 2**20  # to a scan task at most, so that none is a straggler for long; a quarter where it holds rows

Sums = dict[int, list[Any]]  # references to the sums of each part


class SourceFailedError(Exception):
    """What ended the training of a whole source: the error of one of its tasks, or what is wrong with its rows."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Scanner:
    """Scans a source on a cluster."""

    cluster: Cluster
    source: ResolvedSource
    recipe: Recipe
    limits: RunLimits
    progress: Progress

    def num_parts(self) -> int:
        """Return into how many parts the groups are divided where no earlier run has divided them."""
        return min(MAX_PARTS, max(self._slots, -(-self.source.size_bytes // PART_BYTES))) if self.source.group_by else 1

    def sums(self, num_parts: int, wanted: Sequence[int]) -> tuple[Layout, Sums]:
        """Return how rows were read, and at most `FAN_IN` references to the sums of each wanted part of `num_parts`.

        Raises SourceFailedError where a file can't be read, or where there are no rows.
        """
        source = self.source
        rows_travel = phases_of(self.recipe, source).rows_travel
        shares = scan_shares(source.fragments, self._slots, SCAN_BYTES // (4 if rows_travel else 1))
        self.progress.say(f"{source.name}: {len(source.fragments)} fragments in {len(shares)} scans")
        layout = self._layout(shares)
        scans = self._scan(shares, layout, num_parts)
        if not any(outcome.value.num_rows for outcome in scans):
            named = f"dataset {source.name!r}: {', '.join(source.locations)}"
            raise SourceFailedError(DataError(f"{named}: the table is empty: it has no rows: add rows"))
        sums = {part: [outcome.parts[part] for outcome in scans] for part in wanted}
        del scans  # nor what they found, once it is added up
        return layout, self._add_up(sums)

    @property
    def _slots(self) -> int:
        return max(1, int(self.cluster.resources.get("CPU", 1)))

    def _layout(self, shares: Sequence[tuple[Fragment, ...]]) -> Layout:
        """Return how rows are read; for levels and fill values they are read once before."""
        layout = initial_layout(self.source)
        if not needs_survey(layout.card.features):
            return layout
        name, arguments = self.source.name, (layout, self.source.s3, self.recipe.memory_mb)
        tasks = [Task(f"{name} survey {at}", survey, (share, *arguments)) for at, share in enumerate(shares)]
        surveys = {}
        with self.progress.counting(f"{name}: surveys", len(tasks)) as advance:
            for outcome in self._succeeding(tasks):
                surveys[outcome.key] = outcome.value
                advance(outcome.key)
        return with_surveys(layout, [surveys[task.key] for task in tasks])

    def _scan(self, shares: Sequence[tuple[Fragment, ...]], layout: Layout, num_parts: int) -> list[Outcome]:
        name, scan = self.source.name, phases_of(self.recipe, self.source).scan
        arguments = (self.cluster.put(layout), self.source.s3, self.recipe.memory_mb, num_parts)
        tasks = [
            Task(f"{name} scan {at}", scan, (share, *arguments), num_parts=num_parts) for at, share in enumerate(shares)
        ]
        sizes = {task.key: sum(f.size_bytes for f in share) for task, share in zip(tasks, shares, strict=True)}
        outcomes: dict[str, Outcome] = {}
        with self.progress.measuring(f"{name}: reading", sum(sizes.values())) as advance:
            for outcome in self._succeeding(tasks):
                outcomes[outcome.key] = outcome
                summary: ScanSummary = outcome.value
                advance(sizes[outcome.key], summary.num_rows)
        return [outcomes[task.key] for task in tasks]

    def _add_up(self, parts: Mapping[int, list[Any]]) -> Sums:
        """Return, for each part, at most `FAN_IN` references to its sums: more are added up in a tree first."""
        level, sums, add_up = 0, dict(parts), phases_of(self.recipe, self.source).add_up
        while any(len(references) > FAN_IN for references in sums.values()):
            tasks, place = [], {}
            for part, references in sums.items():
                for start in range(0, len(references), FAN_IN):
                    key = f"sum {level} {part} {start}"
                    place[key] = part
                    tasks.append(Task(key, add_up, tuple(references[start : start + FAN_IN]), num_parts=1))
            merged = {outcome.key: outcome.parts[0] for outcome in self._succeeding(tasks)}
            sums = {part: [] for part in sums}
            for task in tasks:
                sums[place[task.key]].append(merged[task.key])
            level += 1
        return sums

    def _succeeding(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield what the tasks came to. Raises SourceFailedError where one of them failed."""
        for outcome in self.cluster.run(tasks, self.limits):
            if outcome.error is not None:
                raise SourceFailedError(outcome.error)
            yield outcome


def scan_shares(fragments: Sequence[Fragment], slots: int, most_bytes: int) -> list[tuple[Fragment, ...]]:
    """Return the fragments dealt to scan tasks: neighbours together, some tasks for each slot, none too large."""
    total = sum(fragment.size_bytes for fragment in fragments)
    limit = max(1, min(most_bytes, -(-total // (2 * slots))))
    return [tuple(share) for share in chunk_by_size(fragments, lambda fragment: fragment.size_bytes, limit)]
