"""The verbs before and at training: plan, train, schema."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import AddressOption, ConfigArgument, JsonOption, StoreOption
from jobs.cli.output import console, emit_json, emit_json_stream

if TYPE_CHECKING:
    from jobs.config import JobConfig
    from model_store.ledger.ledger import Ledger


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("plan")(plan)
    app.command("train")(train)
    app.command("schema")(schema)


def plan(config: ConfigArgument, json: JsonOption = False) -> None:
    """Print the certificate, the blocks and the engine of a job, without training."""
    from jobs.cli.tables import print_plan
    from jobs.config import load_config
    from jobs.plan import make_plan

    job = load_config(config)
    made = make_plan(job, config.parent)
    if json:
        emit_json(made.to_json())
    else:
        print_plan(console(), made)


def train(
    config: ConfigArgument,
    store: StoreOption = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="The run to start or to go on with.")] = None,
    address: AddressOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train, but leave the store as it is.")] = False,
    json: JsonOption = False,
) -> int:
    """Train every dataset at every grid point, and commit the models that are better than the champions."""
    from jobs.cli.tables import print_outcome
    from jobs.config import load_config
    from jobs.progress import Progress

    with _uncollected():
        from jobs.run import run_job

        job = load_config(config)
    ledger = _ledger(job, store)
    with redirect_stdout(sys.stderr):  # Ray prints there which worker it lost
        outcome = run_job(
            job, config.parent, ledger, address=address, run_id=run_id, dry_run=dry_run, progress=Progress()
        )
    if json:
        emit_json_stream(outcome.summary(), "datasets", outcome.documents())
    else:
        print_outcome(console(), outcome)
    return outcome.exit_code


def schema(json: JsonOption = False) -> None:
    """Print the JSON Schema of a configuration, for editors."""
    from jobs.config import json_schema

    emit_json(json_schema())


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make what stays until the process ends, without cyclic collection, which would go through it again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _ledger(job: JobConfig, store: str | None) -> Ledger:
    from model_store import open_ledger

    return open_ledger(store or (job.store.uri if job.store else None))
