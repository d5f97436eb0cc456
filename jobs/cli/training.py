"""The verbs for training: plan, train, schema."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.cli.log import LogFormatOption, foreign_output, start_log
from jobs.cli.options import AddressOption, ConfigArgument, JsonOption, StoreOption, StrictOption
from jobs.cli.output import console, emit_json, emit_json_stream


def plan(config: ConfigArgument, strict: StrictOption = False, json: JsonOption = False) -> int:
    """Print the certificate, the blocks and the engine of a job, without training."""
    from jobs.api import plan as make_plan
    from jobs.cli.tables import print_plan

    made = make_plan(config, strict=strict)
    if json:
        emit_json(made.to_json())
    else:
        print_plan(console(), made)
    return made.exit_code


def train(
    config: ConfigArgument,
    store: StoreOption = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="The run to start or to continue.")] = None,
    address: AddressOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train, and write nothing to the store.")] = False,
    strict: StrictOption = False,
    if_running: Annotated[
        Literal["skip", "wait", "fail"] | None,
        typer.Option(
            "--if-running",
            help="If a run of the collection is under way: exit with 0, wait for its end, or exit with 4. "
            "Default: exit with 4 if it has the same configuration, else train beside it.",
        ),
    ] = None,
    metrics_file: Annotated[
        Path | None,
        typer.Option("--metrics-file", metavar="PATH", help="Write metrics for node exporter's textfile collector."),
    ] = None,
    push_gateway: Annotated[
        str | None, typer.Option("--push-gateway", metavar="URL", help="Push metrics to a Prometheus Pushgateway.")
    ] = None,
    log_format: LogFormatOption = None,
    json: JsonOption = False,
) -> int:
    """Train every dataset at every grid point, and commit the models that are better than the champions."""
    from jobs.cli.tables import print_outcome
    from jobs.config import load_config
    from jobs.progress import Progress

    log = start_log(log_format, run_id=None)
    progress = Progress(write=None if log.form is None else log.write, on_run=log.is_of)
    with _uncollected():
        from jobs.api import train as train_job

        job = load_config(config)
    log.known["collection"] = job.name
    with foreign_output():
        outcome = train_job(
            job,
            store=store,
            address=address,
            run_id=run_id,
            dry_run=dry_run,
            strict=strict,
            if_running=if_running,
            base=config.parent,
            progress=progress,
            metrics_file=metrics_file,
            push_gateway=push_gateway,
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
    """Disable the cyclic garbage collector while long-lived objects are created, and exempt them from it later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
