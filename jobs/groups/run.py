"""A fleet on Ray: scan the fragments, add the sums up by group in a tree, train each part where its sums are.

Nothing assumes a shared disk: what tasks hand to each other and to the driver goes through the object store, and the
driver alone writes to the ledger. Rows are read by one task each. In closed form only their sums travel; for
minibatches each row goes, encoded, to the part of its group.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.cluster.shares import chunk_by_size
from jobs.cluster.tasks import Outcome, RunLimits, Task
from jobs.config import DatasetConfig, TrainingConfig
from jobs.errors import DataError
from jobs.groups.outcome import Collected, GroupsOutcome
from jobs.groups.scan.layout import initial_layout, with_surveys
from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.scan import ScanSummary, needs_survey, survey
from jobs.groups.scan.stream import Source
from jobs.groups.steps import Phases, phases_of
from jobs.groups.stored import StoredParts, source_key
from jobs.groups.training import GroupsSpec
from jobs.progress import Progress
from jobs.recipe import Policy, Recipe
from jobs.sources.columns import Fragment
from jobs.sources.dataset import dataset_in_errors, fragments_of
from jobs.sources.file_stamps import file_stamps
from model_store.claims.runs import RunFolder
from model_store.objects.s3_settings import S3Settings

if TYPE_CHECKING:  # Ray takes half a second to import, and not every verb needs it
    from jobs.cluster.ray_cluster import Cluster

FAN_IN = 16
MAX_PARTS = 1024
PART_BYTES = 24 * 2**20  # of source data to a part: some thousand groups of a hundred rows
SCAN_BYTES = 256 * 2**20  # to a scan task at most, so that none is a straggler for long; a quarter where it holds rows
DETAILED_TRIALS = 500_000  # up to so many trials keep their curves and coefficients


@dataclass(frozen=True)
class GroupsJob:
    """What a fleet is trained with: the source, its settings, and where its parts are kept (None: a dry run)."""

    dataset: DatasetConfig
    training: TrainingConfig
    recipe: Recipe
    policy: Policy
    s3: S3Settings
    fragments: tuple[Fragment, ...]
    steps: Phases
    stored: StoredParts | None


def groups_job(
    dataset: DatasetConfig,
    training: TrainingConfig,
    recipe: Recipe,
    policy: Policy,
    base: Path,
    folder: RunFolder | None,
) -> GroupsJob:
    """Return a fleet ready to be trained. Raises DataError where it has no file."""
    s3 = S3Settings.from_environment(os.environ)
    with dataset_in_errors(dataset.name):
        fragments = fragments_of(dataset, base, s3)
    key = source_key(dataset.model_dump_json(), recipe, policy, file_stamps(fragments, s3))
    stored = StoredParts(folder, key) if folder else None
    steps = phases_of(recipe, None if dataset.group_by else Source(fragments, s3, training.memory_mb))
    return GroupsJob(dataset, training, recipe, policy, s3, fragments, steps, stored)


def reuse_groups(job: GroupsJob) -> GroupsOutcome | None:
    """Return a fleet that this run has trained already, over the same files; None if it has not."""
    names = job.stored.complete() if job.stored is not None else None
    if names is None or job.stored is None:
        return None
    collected = Collected()
    for number, name in enumerate(names):
        collected.add(number, job.stored.read(name))
    return collected.outcome(job.dataset.name, reused=True)


def is_scanned(dataset: DatasetConfig, recipe: Recipe, training: TrainingConfig, base: Path) -> bool:
    """Return whether a dataset is read by scans: it is grouped, or takes more memory than a task has."""
    if dataset.group_by:
        return True
    if recipe.engine == "minibatch" and training.num_workers > 1:
        return False  # the ranks hold the rows
    with dataset_in_errors(dataset.name):
        fragments = fragments_of(dataset, base, S3Settings.from_environment(os.environ))
    return sum(fragment.size_bytes for fragment in fragments) > training.memory_mb * 2**20 // 4


def train_groups_of(cluster: Cluster, job: GroupsJob, limits: RunLimits, progress: Progress) -> GroupsOutcome:
    """Train the groups of a source. Raises DataError where a file can't be read, ClusterError and StoreError."""
    slots = max(1, int(cluster.resources.get("CPU", 1)))
    shares = scan_shares(job.fragments, slots, SCAN_BYTES // (4 if job.steps.rows_travel else 1))
    progress.say(f"{job.dataset.name}: {len(job.fragments)} fragments in {len(shares)} scans")
    layout = _layout(cluster, job, shares, limits, progress)
    num_parts = _num_parts(job.fragments, slots) if job.dataset.group_by else 1
    scans = _scan(cluster, job, shares, layout, num_parts, limits, progress)
    num_rows = sum(outcome.value.num_rows for outcome in scans)
    parts = _add_up(cluster, [outcome.parts for outcome in scans], job.steps.add_up, num_parts, limits)
    del scans  # nor what they found, once it is added up
    if not num_rows:
        named = f"dataset {job.dataset.name!r}: {', '.join(job.dataset.source)}"
        raise DataError(f"{named}: the table is empty: it has no rows: add rows")
    return _train(cluster, job, layout, parts, limits, progress)


def scan_shares(fragments: Sequence[Fragment], slots: int, most_bytes: int) -> list[tuple[Fragment, ...]]:
    """Return the fragments dealt to scan tasks: neighbours together, some tasks for each slot, none too large."""
    total = sum(fragment.size_bytes for fragment in fragments)
    limit = max(1, min(most_bytes, -(-total // (2 * slots))))
    return [tuple(share) for share in chunk_by_size(fragments, lambda fragment: fragment.size_bytes, limit)]


def _num_parts(fragments: Sequence[Fragment], slots: int) -> int:
    total = sum(fragment.size_bytes for fragment in fragments)
    return min(MAX_PARTS, max(slots, -(-total // PART_BYTES)))


def _layout(
    cluster: Cluster,
    job: GroupsJob,
    shares: Sequence[tuple[Fragment, ...]],
    limits: RunLimits,
    progress: Progress,
) -> Layout:
    """Return how rows are read; for levels and fill values they are read once before."""
    layout = initial_layout(job.dataset)
    if not needs_survey(layout.card.features):
        return layout
    tasks = [
        Task(f"{job.dataset.name} survey {at}", survey, (share, layout, job.s3, job.training.memory_mb))
        for at, share in enumerate(shares)
    ]
    surveys = [outcome.value for outcome in _run(cluster, tasks, f"{job.dataset.name}: surveys", limits, progress)]
    return with_surveys(layout, surveys)


def _scan(
    cluster: Cluster,
    job: GroupsJob,
    shares: Sequence[tuple[Fragment, ...]],
    layout: Layout,
    num_parts: int,
    limits: RunLimits,
    progress: Progress,
) -> list[Outcome]:
    shared = cluster.put(layout)
    tasks = [
        Task(
            f"{job.dataset.name} scan {at}",
            job.steps.scan,
            (share, shared, job.s3, job.training.memory_mb, num_parts),
            num_parts=num_parts,
        )
        for at, share in enumerate(shares)
    ]
    sizes = {task.key: sum(f.size_bytes for f in share) for task, share in zip(tasks, shares, strict=True)}
    outcomes: dict[str, Outcome] = {}
    with progress.measuring(f"{job.dataset.name}: reading", sum(sizes.values())) as advance:
        for outcome in cluster.run(tasks, limits):
            _require(outcome)
            outcomes[outcome.key] = outcome
            summary: ScanSummary = outcome.value
            advance(sizes[outcome.key], summary.num_rows)
    return [outcomes[task.key] for task in tasks]


def _add_up(
    cluster: Cluster,
    scans: Sequence[tuple[Any, ...]],
    add_up: Callable[..., Any],
    num_parts: int,
    limits: RunLimits,
) -> list[list[Any]]:
    """Return, for each part, at most `FAN_IN` references to its sums: more are added up in a tree first."""
    parts = [[scan[part] for scan in scans] for part in range(num_parts)]
    level = 0
    while any(len(references) > FAN_IN for references in parts):
        tasks, place = [], {}
        for part, references in enumerate(parts):
            for start in range(0, len(references), FAN_IN):
                key = f"sum {level} {part} {start}"
                place[key] = part
                tasks.append(Task(key, add_up, tuple(references[start : start + FAN_IN]), num_parts=1))
        merged: dict[str, Outcome] = {}
        for outcome in cluster.run(tasks, limits):
            _require(outcome)
            merged[outcome.key] = outcome
        parts = [[] for _ in range(num_parts)]
        for task in tasks:
            parts[place[task.key]].append(merged[task.key].parts[0])
        level += 1
    return parts


def _train(
    cluster: Cluster,
    job: GroupsJob,
    layout: Layout,
    parts: list[list[Any]],
    limits: RunLimits,
    progress: Progress,
) -> GroupsOutcome:
    """Train the parts; their sums are let go one by one."""
    num_parts = len(parts)
    spec = cluster.put(GroupsSpec(layout, job.recipe, job.policy, DETAILED_TRIALS // num_parts))
    numbers = {f"{job.dataset.name} part {at}": at for at in range(num_parts)}
    tasks = (Task(key, job.steps.train, (spec, *parts.pop(0))) for key in numbers)
    collected, names = Collected(), [""] * num_parts
    with progress.counting(f"{job.dataset.name}: parts trained", num_parts) as advance:
        for outcome in cluster.run(tasks, limits):
            _require(outcome)
            number = numbers[outcome.key]
            if job.stored is not None:
                names[number] = job.stored.keep(number, num_parts, outcome.value)
            collected.add(number, outcome.value)
            advance(outcome.key)
    if job.stored is not None:
        job.stored.finish(names)
    return collected.outcome(job.dataset.name)


def _run(cluster: Cluster, tasks: Sequence[Task], what: str, limits: RunLimits, progress: Progress) -> list[Outcome]:
    """Return what the tasks came to, in their order. Raises what one of them raised."""
    outcomes: dict[str, Outcome] = {}
    with progress.counting(what, len(tasks)) as advance:
        for outcome in cluster.run(tasks, limits):
            _require(outcome)
            outcomes[outcome.key] = outcome
            advance(outcome.key)
    return [outcomes[task.key] for task in tasks]


def _require(outcome: Outcome) -> None:
    if outcome.error is not None:
        raise outcome.error
