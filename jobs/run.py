"""The story of a job: configuration, data, plan, training, selection, commit."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from jobs.champions.batch import ChallengerBatch
from jobs.champions.challenger import Challenger, challenger_of
from jobs.champions.commit import Comparisons, commit_better
from jobs.champions.verification import verify
from jobs.config import JobConfig
from jobs.groups.job import group_batches, require_distinct_names, train_scanned
from jobs.groups.run import is_scanned
from jobs.progress import Progress
from jobs.recipe import Recipe, make_recipe, policy_of, run_limits_of
from jobs.reports.outcome import DatasetOutcome, JobOutcome, trials_parquet
from jobs.reports.repeated_run import repetition_of
from jobs.sources.dataset import Dataset
from jobs.sources.job_datasets import read_datasets
from jobs.training.datasets import TrainedDataset
from jobs.training.driver import Trained, train
from jobs.trials.library import TrialLibrary
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
    recipe = make_recipe(config)
    fleets = [spec for spec in config.datasets if is_scanned(spec, recipe, config.training, base)]
    run_id = run_id or default_run_id(config)
    repetition = None if fleets or dry_run else repetition_of(config, base, ledger)
    if repetition is not None and (earlier := repetition.earlier(config, run_id)) is not None:
        with ledger.run(run_id).claim():
            progress.say(f"{len(config.datasets)} datasets, all as version {earlier.version} has them")
            return earlier
    datasets = read_datasets(config, base, [spec for spec in config.datasets if spec not in fleets])
    progress.say(f"{len(config.datasets)} datasets, {recipe.reason}")
    with _claimed(ledger, run_id, dry_run=dry_run) as require_claim:
        library = TrialLibrary(ledger, config.name, run_id, read_only=dry_run)
        trained = train(
            datasets, recipe, library, address=address, limits=run_limits_of(config.training), progress=progress
        )
        challengers = _challengers(config, datasets, trained)
        outcomes = _outcomes(datasets, trained, challengers)
        if config.training.verify:
            outcomes = _verified(outcomes, datasets, recipe)
        folder = None if dry_run else ledger.run(run_id)
        of_fleets = train_scanned(config, fleets, recipe, base, folder, address=address, progress=progress)
        require_distinct_names([outcome.name for outcome in outcomes], of_fleets)
        outcome = JobOutcome(
            run_id=run_id,
            collection=config.name,
            version=None,
            committed=False,
            datasets=outcomes,
            computed=trained.computed + sum(fleet.num_trials for fleet in of_fleets if not fleet.reused),
            reused=trained.reused + sum(fleet.num_trials for fleet in of_fleets if fleet.reused),
            fleets=of_fleets,
        )
        if dry_run:
            return outcome
        require_claim()
        _keep_run(ledger, run_id, config, trained.datasets)
        outcome = _commit(ledger, config, challengers, outcome)
        if repetition is not None:
            repetition.remember(outcome, ledger.head(config.name))
        return outcome


def default_run_id(config: JobConfig) -> str:
    """Return the run id of a job that was not given one: the same job has the same, so that it goes on where it was."""
    digest = hashlib.sha256(config.resolved().encode()).hexdigest()
    return f"{config.name}-{digest[:12]}"


@contextmanager
def _claimed(ledger: Ledger, run_id: str, *, dry_run: bool) -> Iterator[Callable[[], None]]:
    """Hold the run, and give what raises RunClaimedError if another process has taken it over meanwhile."""
    if dry_run:
        yield lambda: None
        return
    with ledger.run(run_id).claim() as claim:
        yield claim.check


def _challengers(config: JobConfig, datasets: Sequence[Dataset], trained: Trained) -> list[Challenger]:
    """Return the best trial of each dataset that has one."""
    by_name = {dataset.name: dataset for dataset in datasets}
    specs = {spec.name: spec for spec in config.datasets}
    offered = (challenger_of(t, policy_of(config, specs[t.name]), by_name[t.name]) for t in trained.datasets)
    return [challenger for challenger in offered if challenger is not None]


def _outcomes(
    datasets: Sequence[Dataset],
    trained: Trained,
    challengers: Sequence[Challenger],
) -> tuple[DatasetOutcome, ...]:
    by_name = {t.name: t for t in trained.datasets}
    offered = {c.trained.name: c for c in challengers}
    outcomes = []
    for dataset in datasets:
        name = dataset.name
        if name in trained.failed:
            outcomes.append(DatasetOutcome(name, "failed", reason=trained.failed[name]))
        elif name in offered:
            outcomes.append(DatasetOutcome(name, "not committed", by_name[name], offered[name]))
        else:
            reason = "no trial converged to a finite loss: " + (by_name[name].certificate.advice or "try smaller rates")
            outcomes.append(DatasetOutcome(name, "no convergence", by_name[name], reason=reason))
    return tuple(outcomes)


def _verified(
    outcomes: Sequence[DatasetOutcome], datasets: Sequence[Dataset], recipe: Recipe
) -> tuple[DatasetOutcome, ...]:
    by_name = {dataset.name: dataset for dataset in datasets}
    return tuple(
        replace(o, verification=verify(by_name[o.name], o.challenger, recipe)) if o.challenger else o for o in outcomes
    )


def _keep_run(ledger: Ledger, run_id: str, config: JobConfig, trained: Sequence[TrainedDataset]) -> None:
    """Write the resolved configuration, the certificates and the trials under the run, by their content."""
    folder = ledger.run(run_id)
    folder.create("configuration.json", config.resolved().encode())
    certificates = json.dumps([t.certificate.to_json() for t in trained], sort_keys=True).encode()
    for kind, data in (("certificates", certificates), ("trials", trials_parquet(trained))):
        ext = "json" if kind == "certificates" else "parquet"
        folder.create(f"{kind}/{hashlib.sha256(data).hexdigest()}.{ext}", data)


def _commit(ledger: Ledger, config: JobConfig, challengers: Sequence[Challenger], outcome: JobOutcome) -> JobOutcome:
    """Offer every model to the ledger in one commit; return what became of each."""
    run_id, trained_at = outcome.run_id, datetime.now(UTC).isoformat(timespec="seconds")
    statistics = config.training.inference_statistics
    batch = ChallengerBatch.of(ledger, challengers, run_id=run_id, trained_at=trained_at, statistics=statistics)
    fleets = group_batches(ledger, config, outcome.fleets, run_id, trained_at)
    version, (comparisons, *of_fleets) = commit_better(ledger, config.name, [batch, *fleets], run_id)
    head = version or ledger.head(config.name)
    remaining = iter(of_fleets)
    return replace(
        outcome,
        version=head.number if head else None,
        committed=version is not None,
        datasets=_settled(outcome.datasets, batch, comparisons),
        fleets=tuple(fleet.against(remaining) for fleet in outcome.fleets),
    )


def _settled(
    outcomes: Sequence[DatasetOutcome], batch: ChallengerBatch, comparisons: Comparisons
) -> tuple[DatasetOutcome, ...]:
    by_name = {c.trained.name: comparisons[place] for place, c in enumerate(batch.challengers)}
    for name, comparison in by_name.items():
        logger.info("comparison %s", json.dumps({"dataset": name, **asdict(comparison)}))
    return tuple(
        replace(o, status="promoted" if by_name[o.name].promoted else "kept", comparison=by_name[o.name])
        if o.name in by_name
        else o
        for o in outcomes
    )
