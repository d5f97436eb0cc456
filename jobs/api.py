"""A job as a call: what `import gridline` gives, and what the verbs `plan` and `train` call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.config import JobConfig, load_config, make_config
from jobs.monitoring.cost import Prices
from jobs.monitoring.traces import traces_of
from jobs.plan import Plan, make_plan
from jobs.progress import Progress
from jobs.reports.exporting import Exports, measured
from jobs.reports.outcome import JobOutcome
from jobs.run import run_job
from model_store import open_ledger
from model_store.claims.under_way import IfRunning
from model_store.objects.s3_settings import S3Settings

Config = JobConfig | Mapping[str, Any] | str | Path


def train(
    config: Config,
    *,
    store: str | None = None,
    address: str | None = None,
    run_id: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    if_running: IfRunning | None = None,
    base: str | Path | None = None,
    progress: Progress | None = None,
    metrics_file: str | Path | None = None,
    push_gateway: str | None = None,
) -> JobOutcome:
    """Train the datasets of a job, commit the models that are better than the champions, and return the outcome.

    `config` is a configuration, a dictionary with its keys, or the path of a YAML file. Relative sources are looked for
    beside `base`: the folder of that file, else the current one. The store is `store`, else that of the configuration,
    else GRIDLINE_STORE, else the folder gridline-store; with `dry_run` it is not touched. `address` is that of a Ray
    cluster, else RAY_ADDRESS; without both Ray is started on this machine. Nothing is printed without `progress`.
    The metrics of the job are in the outcome; however it ends, they are written to `metrics_file` and pushed to
    `push_gateway`: docs/monitoring.md.
    A dataset that can't be used fails alone, with its reason in the outcome; with `strict`, it ends the job.
    If a run of the collection is under way, `if_running` says what the job does: with "skip" it is skipped, and
    `skipped` of the outcome says why; with "wait" it waits; with "fail" it raises RunClaimedError. By default it raises
    that only if the other run has the same configuration.
    Raises ConfigError and DataError before anything is trained or written, ClusterError and StoreError later.
    """
    job, folder = _resolved(config, base)
    progress = progress or Progress(quiet=True)
    settings = S3Settings.from_environment(os.environ, job.retry_s)

    def run() -> JobOutcome:
        return run_job(
            job,
            folder,
            open_ledger(store or (job.store.uri if job.store else None), settings),
            address=address,
            run_id=run_id,
            dry_run=dry_run,
            strict=strict,
            if_running=if_running,
            progress=progress,
        )

    file = None if metrics_file is None else Path(metrics_file)
    exports = Exports() if dry_run else Exports(file, push_gateway, traces_of(os.environ))
    prices = Prices(**job.prices.model_dump()) if job.prices else None
    return measured(run, job.name, progress.watch, prices, exports)


def plan(config: Config, base: str | Path | None = None, *, strict: bool = False) -> Plan:
    """Return the plan of a job: engine, blocks and certificates. The arguments are those of `train`.

    Raises ConfigError, and the errors of all datasets if none can be trained; with `strict`, if one can't.
    """
    return make_plan(*_resolved(config, base), strict=strict)


def _resolved(config: Config, base: str | Path | None) -> tuple[JobConfig, Path]:
    """Return the configuration, and the folder of its relative sources."""
    if isinstance(config, str | Path):
        return load_config(config), Path(base or Path(config).parent)
    return config if isinstance(config, JobConfig) else make_config(config), Path(base or ".")
