"""The story of a job: configuration, data, plan, training, selection, commit."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from jobs.champions import Challenger, Policy, challenger_of, offer
from jobs.config import JobConfig, TrainingConfig
from jobs.data import read_datasets
from jobs.execution import Trained, train
from jobs.planning import Recipe, make_recipe
from jobs.progress import Progress
from jobs.reporting import DatasetOutcome, JobOutcome, trials_parquet
from jobs.sources.dataset import Dataset
from jobs.tasks import Patience
from jobs.training import TrainedDataset
from jobs.trial_library import TrialLibrary
from jobs.verification import verify
from model_store.ledger import Ledger

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
    datasets = read_datasets(config, base)
    progress.say(f"{len(datasets)} datasets, {recipe.reason}")
    run_id = run_id or default_run_id(config)
    with _claimed(ledger, run_id, dry_run=dry_run):
        library = TrialLibrary(ledger, config.name, run_id, read_only=dry_run)
        trained = train(
            datasets, recipe, library, address=address, patience=patience_of(config.training), progress=progress
        )
        challengers = [c for t in trained.datasets if (c := challenger_of(t, policy_of(config, t.name))) is not None]
        outcomes = _outcomes(datasets, trained, challengers)
        if config.training.verify:
            outcomes = _verified(outcomes, datasets, recipe)
        if dry_run:
            return JobOutcome(run_id, config.name, None, False, outcomes, trained.computed, trained.reused)
        _keep_run(ledger, run_id, config, trained.datasets)
        outcome = _commit(ledger, config, run_id, challengers, outcomes)
        return replace(outcome, computed=trained.computed, reused=trained.reused)


def default_run_id(config: JobConfig) -> str:
    """Return the run id of a job that was not given one: the same job has the same, so that it goes on where it was."""
    digest = hashlib.sha256(config.resolved().encode()).hexdigest()
    return f"{config.name}-{digest[:12]}"


def patience_of(training: TrainingConfig) -> Patience:
    """Return how long a cluster is waited for, and how often a lost block is started again."""
    return Patience(training.max_failures, training.wait_for_resources_s, training.timeout_s)


def policy_of(config: JobConfig, dataset: str) -> Policy:
    """Return what the trials of a dataset are compared by."""
    (spec,) = [d for d in config.datasets if d.name == dataset]
    return Policy(config.metric_of(spec), config.mode, config.select.promote, config.select.min_improvement)


@contextmanager
def _claimed(ledger: Ledger, run_id: str, *, dry_run: bool) -> Iterator[None]:
    if dry_run:
        yield
        return
    with ledger.run(run_id).claim():
        yield


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


def _commit(
    ledger: Ledger,
    config: JobConfig,
    run_id: str,
    challengers: Sequence[Challenger],
    outcomes: Sequence[DatasetOutcome],
) -> JobOutcome:
    version, comparisons = offer(
        ledger,
        config.name,
        challengers,
        run_id=run_id,
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        statistics=config.training.inference_statistics,
    )
    for name, comparison in comparisons.items():
        logger.info("comparison %s", json.dumps({"dataset": name, **asdict(comparison)}))
    head = version or ledger.head(config.name)
    settled = tuple(
        replace(o, status="promoted" if comparisons[o.name].promoted else "kept", comparison=comparisons[o.name])
        if o.name in comparisons
        else o
        for o in outcomes
    )
    return JobOutcome(run_id, config.name, head.number if head else None, version is not None, settled)
