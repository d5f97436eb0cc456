"""The verb that predicts: predict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.options import CollectionArgument, JsonOption, StoreOption, TokenFileOption, VersionOption
from jobs.cli.output import emit, emit_json
from jobs.cli.reading_flags import Flags, with_reading_flags

if TYPE_CHECKING:
    from jobs.prediction.input import Reading
    from jobs.prediction.models import Models, PredictionOptions


@dataclass(frozen=True)
class Output:
    """Where rows are written (None: predictions are printed), in which format, and how."""

    location: str | None
    format: str | None
    prefix: str
    strict: bool


@with_reading_flags
def predict(
    collection: CollectionArgument,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Of all rows; required if there are several, and no column tells.")
    ] = None,
    group_prefix: Annotated[
        str | None, typer.Option("--group-prefix", help="The prefix of the groups, where several sources have them.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="FEATURE=VALUE", help="A value in raw units; repeat it.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="Rows: what the source of a dataset may be, or - for standard input. "
            "The columns of training's groups, or a column dataset, tell the model of a row.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write the rows with their predictions: .csv, .tsv, .parquet, or - for standard output.",
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option("--output-format", help="csv, tsv or parquet; default: by the name; of -, as the input."),
    ] = None,
    column_prefix: Annotated[str, typer.Option("--column-prefix", help="Begins the names of the added columns.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that can't be answered.")] = False,
    allow_missing_columns: Annotated[
        bool, typer.Option("--allow-missing-columns", help="Fill the features whose columns the file lacks.")
    ] = False,
    extra: Annotated[
        str | None,
        typer.Option(
            "--extra", help="Names that are no features: error (default of --set) or ignore (default of --input)."
        ),
    ] = None,
    store: StoreOption = None,
    version: VersionOption = None,
    interval: Annotated[float | None, typer.Option("--interval", help="Intervals at this level, such as 0.95.")] = None,
    extrapolation: Annotated[bool, typer.Option("--extrapolation", help="List values not seen in training.")] = False,
    explanations: Annotated[bool, typer.Option("--explanations", help="Print each feature's share.")] = False,
    url: Annotated[str | None, typer.Option("--url", help="Use the endpoint at this address.")] = None,
    token_file: TokenFileOption = None,
    json: JsonOption = False,
    *,
    flags: Flags,
) -> int:
    """Predict from the store, or with --url from an endpoint; both give the same answer.

    Exit code 5: some rows of --output have an error in place of a prediction.
    """
    from jobs.errors import UsageError
    from jobs.prediction.flags import reading_of
    from jobs.prediction.models import PredictionOptions, predict_values

    if (file is None) == (not values):
        raise UsageError("give the values of one row with --set FEATURE=VALUE, or a file of rows with --input")
    if file is None and (flags or output is not None):
        raise UsageError(
            f"--{'output' if output is not None else next(iter(flags))} has no meaning with --set: remove it"
        )
    if interval is not None and not 0.0 < interval < 1.0:
        raise UsageError(f"--interval {interval:g} is not a level: give one between 0 and 1, such as 0.95")
    if extra not in (None, "error", "ignore"):
        raise UsageError(f"--extra {extra} is not known: give error or ignore")
    options = PredictionOptions(dataset, interval, extrapolation, explanations, extra)
    with _models(collection, store, version, url, token_file, dataset) as models:
        if file is None:
            _print_answer(predict_values(models, options, values or []), as_json=json)
            return 0
        reading = reading_of(flags, may_lack=allow_missing_columns)
        return _predict_file(
            models, options, file, reading, Output(output, output_format, column_prefix, strict), group_prefix, json
        )


@contextmanager
def _models(
    collection: str,
    store: str | None,
    version: int | None,
    url: str | None,
    token_file: Path | None,
    dataset: str | None,
) -> Iterator[Models]:
    """Yield the models of the endpoint at `url`, or of the store."""
    from jobs.prediction.models import EndpointModels, StoredModels

    if url is None:
        from model_store import open_ledger

        yield StoredModels(open_ledger(store).version(collection, version), dataset)
        return
    from model_store.torchserve.inference import Inference

    with Inference(url, token_file) as endpoint:
        yield EndpointModels(endpoint, collection, version)


def _predict_file(
    models: Models,
    options: PredictionOptions,
    file: str,
    reading: Reading,
    output: Output,
    group_prefix: str | None,
    as_json: bool,
) -> int:
    """Print the predictions for the rows of a file, or write the rows with them; return the exit code."""
    from jobs.prediction.files import predict_document, predict_rows, without_extra
    from jobs.prediction.input import opened
    from jobs.prediction.output import target_of
    from jobs.prediction.picking import Asked, pick_for
    from jobs.progress import Progress

    progress = Progress()
    with opened(file, reading) as rows:
        pick = pick_for(models.served, rows.names, Asked(options.dataset, group_prefix))
        options = without_extra(options, rows, models.served, pick)
        if output.location is None:
            _print_answer(predict_document(models, options, rows, pick, progress), as_json=as_json)
            return 0
        target = target_of(output.location, output.format, rows)
        written = predict_rows(
            models, options, rows, pick, target, prefix=output.prefix, strict=output.strict, progress=progress
        )
    if output.location != "-":
        text = f"wrote {written.num_rows} rows to {output.location}"
        emit(written.document(output.location), text, as_json=as_json)
    if written.first_error is not None:
        progress.say(f"{written.num_errors} of {written.num_rows} rows have an error; the first: {written.first_error}")
    return written.exit_code


def _shown_interval(intervals: dict[str, Any], row: int) -> str:
    bounds = intervals["prediction"][row]
    return f"  [{bounds[0]:.6g}, {bounds[1]:.6g}]" if bounds else f"  no interval: {intervals['reasons'][row]}"


def _print_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print the answer as JSON, or one prediction a line, with its interval if requested."""
    if as_json:
        emit_json(answer)
        return
    intervals = answer.get("intervals")
    for row, prediction in enumerate(answer["predictions"]):
        print(f"{prediction:.8g}" + ("" if intervals is None else _shown_interval(intervals, row)))
    for name in ("extrapolations", "explanations"):
        for row, value in enumerate(answer.get(name, [])):
            if value:
                print(f"{name} of row {row}: {value}")
