"""The fleets of a job: trained one after the other, and offered together with everything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jobs.config import DatasetConfig, JobConfig
from jobs.errors import DataError
from jobs.groups.batch import GroupBatch
from jobs.groups.outcome import GroupsOutcome
from jobs.groups.run import groups_job, reuse_groups, train_groups_of
from jobs.progress import Progress
from jobs.recipe import Recipe, policy_of, run_limits_of
from model_store.claims.runs import RunFolder
from model_store.ledger.ledger import Ledger


def train_scanned(
    config: JobConfig,
    specs: Sequence[DatasetConfig],
    recipe: Recipe,
    base: Path,
    folder: RunFolder | None,
    *,
    address: str | None,
    progress: Progress,
) -> tuple[GroupsOutcome, ...]:
    """Train the datasets that are read by scans; Ray is joined only where the run has not trained them already."""
    jobs = [groups_job(spec, config.training, recipe, policy_of(config, spec), base, folder) for spec in specs]
    outcomes = {job.dataset.name: reuse_groups(job) for job in jobs}
    missing = [job for job in jobs if outcomes[job.dataset.name] is None]
    if missing:
        from jobs.cluster.ray_cluster import connect

        limits = run_limits_of(config.training)
        with connect(address) as cluster:
            outcomes |= {job.dataset.name: train_groups_of(cluster, job, limits, progress) for job in missing}
    return tuple(outcome for outcome in outcomes.values() if outcome is not None)


def group_batches(
    ledger: Ledger, config: JobConfig, fleets: Sequence[GroupsOutcome], run_id: str, trained_at: str
) -> list[GroupBatch]:
    """Return the models of all fleets, part by part, ready to be offered."""
    specs = {spec.name: spec for spec in config.datasets}
    return [
        GroupBatch(ledger, groups, policy_of(config, specs[fleet.name]), run_id, trained_at, config.training.loss)
        for fleet in fleets
        for part in fleet.parts
        for groups in part.trained
    ]


def require_distinct_names(names: Sequence[str], fleets: Sequence[GroupsOutcome]) -> None:
    """Raise DataError where two sources of a job give one dataset."""
    if not fleets or (len(fleets) == 1 and not names):
        return
    seen = dict.fromkeys(names, "the configuration")
    for fleet in fleets:
        for part in fleet.parts:
            for groups in part.trained:
                for name in groups.name_m.to_pylist():
                    if name in seen:
                        raise DataError(
                            f"dataset {name!r} is both of {fleet.name!r} and of {seen[name]!r}: a collection has one "
                            "of each name: give one of the sources another 'name' in a job of its own"
                        )
                    seen[name] = fleet.name
