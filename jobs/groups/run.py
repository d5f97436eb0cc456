"""Train the groups of a source on Ray: scan it for the parts that are not stored, and train each where its sums are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.cluster.tasks import RunLimits, Task
from jobs.groups.outcome import Collected, GroupsOutcome
from jobs.groups.parts import Part, Parts
from jobs.groups.scan.layout import Layout
from jobs.groups.scanning import Scanner, SourceFailedError, Sums
from jobs.groups.steps import names_of, phases_of
from jobs.groups.training import GroupsSpec
from jobs.progress import Progress
from jobs.training.driver import Join
from jobs.trials.keys import block_name
from jobs.trials.library import TrialLibrary

if TYPE_CHECKING:  # Ray takes half a second to import, and not every verb needs it
    from jobs.cluster.ray_cluster import Cluster

DETAILED_TRIALS = 500_000  # up to this number, the table of trials has curves and coefficients


def train_groups_of(join: Join, parts: Parts, limits: RunLimits, progress: Progress) -> GroupsOutcome:
    """Train the parts of a source that are not stored; if all are, it joins no cluster and reads nothing.

    If a part fails, the others are trained; if a scan fails, the source fails. Raises ClusterError and StoreError.
    """
    collected = Collected()
    every_part = parts.find()
    for part in every_part:
        if part.missing is None:
            collected.add(part.number, parts.merge(part, None))
    missing = [part for part in every_part if part.missing is not None]
    if missing or not every_part:
        training = _Training(join(), parts, TrialLibrary(parts.runs), collected, limits, progress)
        try:
            training.run(missing, len(every_part))
        except SourceFailedError as exc:
            collected = Collected()
            collected.fail([parts.source.name], exc.error)
    return collected.outcome(parts.source.name, parts.policy, len(parts.keys), parts.recipe.digest())


@dataclass(frozen=True)
class _Training:
    """The missing parts of a source on a cluster."""

    cluster: Cluster
    parts: Parts
    library: TrialLibrary
    collected: Collected
    limits: RunLimits
    progress: Progress

    def run(self, missing: list[Part], num_parts: int) -> None:
        """Scan the source, and train the `missing` of `num_parts` parts; all of them, if that is 0."""
        recipe = self.parts.recipe
        scanner = Scanner(self.cluster, self.parts.source, recipe, self.limits, self.progress)
        if not num_parts:
            num_parts = scanner.num_parts()
            missing = [Part(number, (), recipe) for number in range(num_parts)]
        layout, sums = scanner.sums(num_parts, [part.number for part in missing])
        self.collected.unused = layout.unused
        failed = self._train(missing, num_parts, layout, sums)
        if failed:
            self._name(failed, sums)

    def _train(self, missing: Sequence[Part], num_parts: int, layout: Layout, sums: Sums) -> dict[int, Exception]:
        """Train and store the parts; return those that fail. Each other part frees its sums when it ends."""
        by_key = {f"{self.parts.source.name} part {part.number}": part for part in missing}
        failed = {}
        with self.progress.counting(f"{self.parts.source.name}: parts trained", len(missing)) as advance:
            tasks = self._tasks(by_key, num_parts, layout, sums)
            for outcome in self.cluster.run(tasks, self.limits, self.library.save_checkpoint, advance.told):
                advance.ended(outcome.key)
                part = by_key[outcome.key]
                if outcome.error is not None:
                    failed[part.number] = outcome.error
                else:
                    del sums[part.number]
                    self.parts.keep(part, num_parts, outcome.value)
                    whole = self.parts.merge(part, outcome.value)
                    self.collected.add(part.number, whole, computed_points=len(self.parts.missing_keys(part)))
                advance(outcome.key)
        return failed

    def _tasks(self, by_key: dict[str, Part], num_parts: int, layout: Layout, sums: Sums) -> Iterator[Task]:
        """Yield the tasks of the parts; one that saves gets the training checkpoint of an earlier run."""
        phases, specs = phases_of(self.parts.recipe, self.parts.source), dict[tuple[bytes, ...], Any]()
        for key, part in by_key.items():
            points = self.parts.missing_keys(part)
            if part.missing is not None and points not in specs:  # most parts lack the same grid points
                spec = GroupsSpec(layout, part.missing, self.parts.policy, DETAILED_TRIALS // num_parts)
                specs[points] = self.cluster.put(spec)
            task = Task(key, phases.train, (specs[points], *sums[part.number]))
            if phases.saves:
                name = block_name(set(points))
                data = self.library.checkpoint(name)
                function = partial(phases.train, name, self.limits.checkpoint_every_s)
                task = replace(task, function=function, saves=True, saved={} if data is None else {name: data})
            yield task

    def _name(self, failed: dict[int, Exception], sums: Sums) -> None:
        """Collect the groups of parts that failed, by their sums; the name of the source, if these are lost."""
        source = self.parts.source.name
        by_key = {f"{source} names {number}": number for number in failed}
        tasks = [Task(key, names_of, tuple(sums[number])) for key, number in by_key.items()]
        for outcome in self.cluster.run(tasks, self.limits):
            names = [source] if outcome.error is not None else outcome.value
            self.collected.fail(names, failed[by_key[outcome.key]])
