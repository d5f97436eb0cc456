"""Run a job: configuration, data, training, selection, commit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from handler.errors import GridlineError
from jobs.champions.batch import Batch
from jobs.champions.challengers import challengers_of
from jobs.champions.commit import commit_better
from jobs.champions.promotion import reasons_of
from jobs.champions.verification import verify
from jobs.config import JobConfig
from jobs.errors import UsageError
from jobs.groups.name_clashes import require_distinct_groups
from jobs.groups.outcome import GroupsOutcome, require_distinct_names
from jobs.groups.parts import Parts
from jobs.groups.run import train_groups_of
from jobs.progress import Progress
from jobs.recipe import policies_of, run_limits_of
from jobs.reports.outcome import DatasetOutcome, JobOutcome
from jobs.reports.past_runs import keep_repetition, keep_results
from jobs.reports.repeated_run import Repetition, repetition_of
from jobs.sources.job_datasets import ReadDatasets, ResolvedJob, reason_of, require_none, resolve_job
from jobs.training.datasets import TrainedDatasets
from jobs.training.driver import Join, Trained, joining, train
from jobs.trials.earlier_runs import EarlierRuns
from jobs.trials.library import TrialLibrary
from jobs.trials.spool import Spool
from jobs.trials.table import trials_parquet
from model_store.claims.executions import Execution
from model_store.claims.under_way import Claimant, IfRunning, begin
from model_store.ledger.ledger import Ledger
from model_store.names import job_id


def run_job(
    config: JobConfig,
    base: Path,
    ledger: Ledger,
    *,
    address: str | None = None,
    run_id: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    if_running: IfRunning | None = None,
    progress: Progress,
) -> JobOutcome:
    """Train the datasets of a job, and commit the models that are better than the champions.

    Relative sources are looked for beside `base`. With `dry_run` the store is not touched. A dataset that can't be used
    fails alone; with `strict`, it ends the job: before anything is trained, or written if only a scan finds it.
    With `if_running`, no other run of the collection is under way: the job is skipped, waits for its end, or fails.
    Raises ConfigError and DataError before anything is trained or written, ClusterError and StoreError later.
    """
    with progress.watch.phase("read"):
        job, do = resolve_job(config, base), Options(address, dry_run, strict)
    if if_running not in (None, *get_args(IfRunning)):
        raise UsageError(f"if_running is {if_running!r}: say 'skip', 'wait' or 'fail', or leave it out")
    if dry_run and if_running:
        raise UsageError("a dry run is never in the way of another run: leave out --if-running or --dry-run")
    with begin(ledger.objects, config.name, id_of(config), run_id, if_running, progress.say) as execution:
        if isinstance(execution, Claimant):
            head = ledger.head(config.name)
            return JobOutcome("", config.name, head.number if head else None, skipped=execution)
        return _execute(config, job, ledger, execution, do, progress)


@dataclass(frozen=True)
class Options:
    """How a job is executed: see `run_job`."""

    address: str | None
    dry_run: bool
    strict: bool


def _execute(
    config: JobConfig, job: ResolvedJob, ledger: Ledger, execution: Execution, do: Options, progress: Progress
) -> JobOutcome:
    """Run a job as the next execution, or return the outcome of the run that it would repeat."""
    progress.begin(execution.run_id)
    if not do.dry_run:
        execution.require_free()
    unlike = job.scanned or job.bad or do.dry_run
    repetition = None if unlike else repetition_of(config.resolved(), job.listed, ledger, config.name)
    if repetition is not None and (earlier := repetition.earlier(execution)) is not None:
        return _repeat(earlier, len(config.datasets), ledger, execution, progress)
    read = _read(config, job, do, progress)
    spool = None if do.dry_run else Spool.of(ledger, os.environ)
    with spool.explaining() if spool else nullcontext(), nullcontext() if do.dry_run else execution.claimed() as claim:
        runs = EarlierRuns(ledger, execution, spool, read_only=do.dry_run)
        if runs.spooled:
            progress.say(f"stored what was kept of {', '.join(runs.spooled)} while the store was away")
        with joining(do.address, progress) as join, progress.watch.phase("train"):
            trained, of_groups = _train(config, job, read, runs, join, progress)
        if do.strict:
            require_none(_failed_sources(of_groups))
        with progress.watch.phase("compare"):
            datasets = _outcomes(config, job, read, trained)
        outcome = JobOutcome(
            execution.run_id,
            config.name,
            datasets=datasets,
            computed=trained.computed + sum(groups.computed for groups in of_groups),
            reused=trained.reused + sum(groups.num_trials - groups.computed for groups in of_groups),
            fleets=of_groups,
        )
        require_distinct_names([dataset.name for dataset in outcome.datasets], of_groups)
        if claim is None:  # a dry run
            return outcome
        with progress.watch.phase("commit"):
            runs.settle()
            claim.renew()
            return _finish(config, ledger, execution, runs, outcome, trained.datasets, repetition, progress)


def _repeat(
    earlier: JobOutcome, num_datasets: int, ledger: Ledger, execution: Execution, progress: Progress
) -> JobOutcome:
    """Return the outcome of the run that the execution repeats, and store that it does."""
    with execution.claimed():
        progress.say(f"{num_datasets} datasets, all as version {earlier.version} has them")
        if earlier.repeats != execution.run_id:
            keep_repetition(ledger.run(execution.run_id), earlier)
        return earlier


def _read(config: JobConfig, job: ResolvedJob, do: Options, progress: Progress) -> ReadDatasets:
    """Return the listed datasets in memory; say how they are trained, and which can't be used."""
    with progress.watch.phase("read"):
        read = job.read()
    progress.watch.count("rows", sum(dataset.num_rows for dataset in read.datasets))
    progress.watch.count("bytes", sum(source.size_bytes for source in job.listed if source.name not in read.bad))
    if do.strict:
        require_none(read.bad)
    require_distinct_groups([dataset.name for dataset in read.datasets], job.scanned)
    progress.say(f"{len(config.datasets)} datasets, {job.recipe.reason}")
    for name, error in read.bad.items():
        progress.say(f"{name}: failed: {reason_of(name, error)}")
    return read


def _finish(
    config: JobConfig,
    ledger: Ledger,
    execution: Execution,
    runs: EarlierRuns,
    outcome: JobOutcome,
    trained: Sequence[TrainedDatasets],
    repetition: Repetition | None,
    progress: Progress,
) -> JobOutcome:
    """Commit the models, and store what the run did; of a new run that changes nothing, which run it repeats."""
    repeats = execution.trained if execution.is_new and not outcome.computed else None
    if repeats is None:
        _keep_run(runs, config, trained)
        runs.settle()
    outcome = _commit(ledger, outcome, progress)
    if repeats is not None and not outcome.committed:
        outcome = replace(outcome, repeats=repeats)
        keep_repetition(runs.own, outcome)
        return outcome
    if repeats is not None:
        _keep_run(runs, config, trained)
    execution.has_trained()
    if outcome.computed or outcome.committed or execution.is_new:  # else the run has the results of these trials
        keep_results(runs.own, outcome)
    if repetition is not None:
        repetition.remember(outcome, ledger.head(config.name))
    return outcome


def _train(
    config: JobConfig, job: ResolvedJob, read: ReadDatasets, runs: EarlierRuns, join: Join, progress: Progress
) -> tuple[Trained, tuple[GroupsOutcome, ...]]:
    """Train the datasets, then the groups of each source. Raises the errors of all where nothing could be trained."""
    limits = run_limits_of(config.training)
    trained = train(read.datasets, job.recipe, TrialLibrary(runs), join=join, limits=limits, progress=progress)
    policies = policies_of(config)
    parts = [Parts(source, job.recipe, policies[source.name], runs) for source in job.scanned]
    of_groups = tuple(train_groups_of(join, each, limits, progress) for each in parts)
    failed = _failed_sources(of_groups)
    if failed and not trained.datasets and not any(groups.num_trials for groups in of_groups):
        require_none({**read.bad, **failed})
    return trained, of_groups


def _failed_sources(of_groups: Sequence[GroupsOutcome]) -> dict[str, GridlineError]:
    """Return the errors of the sources with tasks that failed; errors that no message explains are reasons only."""
    return {groups.name: groups.error for groups in of_groups if isinstance(groups.error, GridlineError)}


def id_of(config: JobConfig) -> str:
    """Return the id of a job; the ids of its runs begin with it."""
    return job_id(config.name, hashlib.sha256(config.resolved().encode()).hexdigest())


def _outcomes(config: JobConfig, job: ResolvedJob, read: ReadDatasets, trained: Trained) -> tuple[DatasetOutcome, ...]:
    """Return the outcome of each listed dataset before the commit; its best trial is a checkpoint of its own."""
    by_name, policies = {each.name: each for each in trained.datasets}, policies_of(config)
    datasets = {dataset.name: dataset for dataset in read.datasets}
    sources, recipe = {source.name: source for source in job.listed}, job.recipe
    failed = {**{name: reason_of(name, error) for name, error in read.bad.items()}, **trained.failed}

    def outcome(name: str) -> DatasetOutcome:
        if name in failed:
            return DatasetOutcome(name, "failed", reason=failed[name])
        each, statistics = by_name[name], recipe.inference_statistics
        said: dict[str, Any] = {"left_out": datasets[name].left_out, "unused": datasets[name].unused}
        best = challengers_of(each, each.trials(detailed=False), policies[name], inference_statistics=statistics)
        if best is None:
            reason = reasons_of(each, policies[name])[name]
            return DatasetOutcome(name, "no convergence", each, reason=reason, **said)
        verification = verify(datasets[name], each, int(best.point_m), recipe) if config.training.verify else None
        batch = Batch(best, policies[name], datasets[name], sources[name], recipe.digest())
        return DatasetOutcome(name, "not committed", each, batch, verification=verification, **said)

    return tuple(outcome(each.name) for each in config.datasets if each.name in datasets or each.name in failed)


def _keep_run(runs: EarlierRuns, config: JobConfig, trained: Sequence[TrainedDatasets]) -> None:
    """Write the resolved configuration, the certificates and the trials under the run, by their content."""
    runs.create("configuration.json", config.resolved().encode())
    if not trained:
        return  # the trials of groups are in their parts
    certificates = json.dumps([t.certificate.to_json() for t in trained if t.certificate], sort_keys=True).encode()
    runs.create(f"certificates/{hashlib.sha256(certificates).hexdigest()}.json", certificates)
    trials = trials_parquet([t.trials() for t in trained])
    runs.create(f"trials/{hashlib.sha256(trials).hexdigest()}.parquet", trials)


def _commit(ledger: Ledger, outcome: JobOutcome, progress: Progress) -> JobOutcome:
    """Offer every model to the ledger in one commit; return the outcome with the comparisons of all."""
    trained_at = datetime.now(UTC).isoformat(timespec="seconds")
    listed = [each.batch for each in outcome.datasets if each.batch is not None]
    offered = [*listed, *(batch for groups in outcome.fleets for batch in groups.batches)]
    phase = progress.watch.phase
    version, compared = commit_better(ledger, outcome.collection, offered, outcome.run_id, trained_at, phase)
    head, comparisons = version or ledger.head(outcome.collection), iter(compared)
    datasets = tuple(each.against(comparisons) for each in outcome.datasets)
    return replace(
        outcome,
        version=head.number if head else None,
        committed=version is not None,
        datasets=datasets,
        fleets=tuple(groups.against(comparisons) for groups in outcome.fleets),
    )
