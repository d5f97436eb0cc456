"""The story of a job: configuration, data, plan, training, selection, commit."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from jobs.champions.batch import Batch
from jobs.champions.challengers import challengers_of
from jobs.champions.commit import commit_better
from jobs.champions.documents import no_convergence
from jobs.champions.selection import Comparison
from jobs.champions.verification import verify
from jobs.config import JobConfig
from jobs.groups.job import group_batches, require_distinct_names
from jobs.groups.outcome import GroupsOutcome
from jobs.groups.parts import Parts
from jobs.groups.run import train_groups_of
from jobs.progress import Progress
from jobs.recipe import Recipe, policies_of, run_limits_of
from jobs.reports.outcome import DatasetOutcome, JobOutcome
from jobs.reports.repeated_run import repetition_of
from jobs.sources.dataset import Dataset
from jobs.sources.job_datasets import ResolvedJob, resolve_job
from jobs.training.datasets import TrainedDatasets
from jobs.training.driver import Join, Trained, joining, train
from jobs.trials.earlier_runs import EarlierRuns
from jobs.trials.library import TrialLibrary
from jobs.trials.table import trials_parquet
from model_store.ledger.ledger import Ledger

logger = logging.getLogger(__name__)


def run_job(
    config: JobConfig,
    base: Path,
    ledger: Ledger,
    *,
    address: str | None = None,
    run_id: str | None = None,
    dry_run: bool = False,
    progress: Progress,
) -> JobOutcome:
    """Train the datasets of a job, and commit the models that are better than the champions.

    Relative sources are looked for beside `base`. With `dry_run` the store is not touched.
    Raises ConfigError and DataError before anything is trained or written, ClusterError and StoreError later.
    """
    job = resolve_job(config, base)
    run_id = run_id or default_run_id(config)
    unlike = job.scanned or dry_run
    repetition = None if unlike else repetition_of(config.resolved(), job.listed, ledger, config.name)
    if repetition is not None and (earlier := repetition.earlier(config.name, run_id)) is not None:
        with ledger.run(run_id).claim():
            progress.say(f"{len(config.datasets)} datasets, all as version {earlier.version} has them")
            return earlier
    datasets = job.read()
    progress.say(f"{len(config.datasets)} datasets, {job.recipe.reason}")
    with nullcontext() if dry_run else ledger.run(run_id).claim() as claim:
        runs = EarlierRuns(ledger, config.name, run_id, read_only=dry_run)
        with joining(address, progress) as join:
            trained, of_groups = _train(config, job, datasets, runs, join, progress)
        challengers = _challengers(config, datasets, trained)
        outcomes = _outcomes(datasets, trained, challengers)
        if config.training.verify:
            outcomes = _verified(outcomes, datasets, job.recipe)
        require_distinct_names([outcome.name for outcome in outcomes], of_groups)
        outcome = JobOutcome(
            run_id=run_id,
            collection=config.name,
            version=None,
            committed=False,
            datasets=outcomes,
            computed=trained.computed + sum(groups.computed for groups in of_groups),
            reused=trained.reused + sum(groups.num_trials - groups.computed for groups in of_groups),
            fleets=of_groups,
        )
        if claim is None:  # a dry run
            return outcome
        claim.check()
        _keep_run(ledger, run_id, config, trained.datasets)
        outcome = _commit(ledger, config, challengers, outcome)
        if repetition is not None:
            repetition.remember(outcome, ledger.head(config.name))
        return outcome


def _train(
    config: JobConfig, job: ResolvedJob, datasets: Sequence[Dataset], runs: EarlierRuns, join: Join, progress: Progress
) -> tuple[Trained, tuple[GroupsOutcome, ...]]:
    """Train the datasets, then the groups of each source. Raises the first error where nothing could be trained."""
    limits = run_limits_of(config.training)
    trained = train(datasets, job.recipe, TrialLibrary(runs), join=join, limits=limits, progress=progress)
    policies = policies_of(config)
    parts = [Parts(source, job.recipe, policies[source.name], runs) for source in job.scanned]
    of_groups = tuple(train_groups_of(join, each, limits, progress) for each in parts)
    error = next((groups.error for groups in of_groups if groups.error is not None), None)
    if error is not None and not trained.datasets and not any(groups.num_trials for groups in of_groups):
        raise error
    return trained, of_groups


def default_run_id(config: JobConfig) -> str:
    """Return the run id of a job that was not given one: the same job has the same, so that it goes on where it was."""
    digest = hashlib.sha256(config.resolved().encode()).hexdigest()
    return f"{config.name}-{digest[:12]}"


def _challengers(config: JobConfig, datasets: Sequence[Dataset], trained: Trained) -> list[Batch]:
    """Return the best trial of each dataset that has one, each a checkpoint of its own."""
    by_name = {dataset.name: dataset for dataset in datasets}
    policies = policies_of(config)
    batches = []
    for each in trained.datasets:
        policy = policies[each.name]
        statistics = config.training.inference_statistics
        found = challengers_of(each, each.trials(detailed=False), policy, inference_statistics=statistics)
        if found is not None:
            batches.append(Batch(found, policy, by_name[each.name]))
    return batches


def _outcomes(
    datasets: Sequence[Dataset],
    trained: Trained,
    batches: Sequence[Batch],
) -> tuple[DatasetOutcome, ...]:
    by_name = {t.name: t for t in trained.datasets}
    offered = {batch.name: batch.challengers for batch in batches}
    outcomes = []
    for dataset in datasets:
        name = dataset.name
        if name in trained.failed:
            outcomes.append(DatasetOutcome(name, "failed", reason=trained.failed[name]))
        elif name in offered:
            outcomes.append(DatasetOutcome(name, "not committed", by_name[name], offered[name]))
        else:
            certificate = by_name[name].certificate
            reason = no_convergence(certificate.advice if certificate else None)
            outcomes.append(DatasetOutcome(name, "no convergence", by_name[name], reason=reason))
    return tuple(outcomes)


def _verified(
    outcomes: Sequence[DatasetOutcome], datasets: Sequence[Dataset], recipe: Recipe
) -> tuple[DatasetOutcome, ...]:
    by_name = {dataset.name: dataset for dataset in datasets}
    return tuple(
        replace(o, verification=verify(by_name[o.name], o.trained, o.point, recipe))
        if o.trained is not None and o.point is not None
        else o
        for o in outcomes
    )


def _keep_run(ledger: Ledger, run_id: str, config: JobConfig, trained: Sequence[TrainedDatasets]) -> None:
    """Write the resolved configuration, the certificates and the trials under the run, by their content."""
    folder = ledger.run(run_id)
    folder.create("configuration.json", config.resolved().encode())
    if not trained:
        return  # the trials of groups are in their parts
    certificates = json.dumps([t.certificate.to_json() for t in trained if t.certificate], sort_keys=True).encode()
    folder.create(f"certificates/{hashlib.sha256(certificates).hexdigest()}.json", certificates)
    trials = trials_parquet([t.trials() for t in trained])
    folder.create(f"trials/{hashlib.sha256(trials).hexdigest()}.parquet", trials)


def _commit(ledger: Ledger, config: JobConfig, batches: Sequence[Batch], outcome: JobOutcome) -> JobOutcome:
    """Offer every model to the ledger in one commit; return what became of each."""
    trained_at = datetime.now(UTC).isoformat(timespec="seconds")
    offered = [*batches, *group_batches(policies_of(config), outcome.fleets)]
    version, comparisons = commit_better(ledger, config.name, offered, outcome.run_id, trained_at)
    head = version or ledger.head(config.name)
    of_fleets = iter(comparisons[len(batches) :])
    by_name = {batch.name: stood[0] for batch, stood in zip(batches, comparisons, strict=False)}
    return replace(
        outcome,
        version=head.number if head else None,
        committed=version is not None,
        datasets=tuple(_settled(each, by_name.get(each.name)) for each in outcome.datasets),
        fleets=tuple(fleet.against(of_fleets) for fleet in outcome.fleets),
    )


def _settled(outcome: DatasetOutcome, comparison: Comparison | None) -> DatasetOutcome:
    if comparison is None:
        return outcome
    logger.info("comparison %s", json.dumps({"dataset": outcome.name, **asdict(comparison)}))
    return replace(outcome, status="promoted" if comparison.promoted else "kept", comparison=comparison)
