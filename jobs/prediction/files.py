"""Predict the rows of a file: as one document, or as rows that are written with their predictions.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from handler.answers import tables
from handler.wording import ignored_names, listed
from jobs.errors import DONE, PARTIAL_FAILURE, UsageError
from jobs.prediction.answers import Answers, answer_batch, requests_of
from jobs.prediction.input import Input
from jobs.prediction.models import Json, Models, PredictionOptions, RefusedInstanceError, Served
from jobs.prediction.output import Target, appended, writing
from jobs.prediction.picking import DATASET, Pick
from jobs.progress import Progress

INTERVALS = ("confidence", "prediction", "reasons")
BOUNDS = tuple(name for names in tables.BOUNDS.values() for name in names)


@dataclass(frozen=True)
class Written:
    """What was written: how many rows, how many of them with an error, and the first error with its place."""

    num_rows: int
    num_errors: int
    first_error: str | None

    @property
    def exit_code(self) -> int:
        return PARTIAL_FAILURE if self.num_errors else DONE

    def document(self, output: str) -> Json:
        """Return what was written, for JSON."""
        return {"output": output, "num_rows": self.num_rows, "num_errors": self.num_errors, "error": self.first_error}


def without_extra(options: PredictionOptions, rows: Input, served: Served, pick: Pick) -> PredictionOptions:
    """Return the options for the rows of a file, of which only features are asked about.

    Raises UsageError if `extra` is `error`, and the file has a column that is neither a feature nor tells the model.
    """
    extra = extra_columns(rows, served, pick)
    if options.extra == "error" and extra:
        raise UsageError(
            f"{rows.location} has columns that are no features: {listed(extra)}: remove them, or set --extra ignore"
        )
    return replace(options, extra=None)


def extra_columns(rows: Input, served: Served, pick: Pick) -> list[str]:
    """Return the columns of a file that are neither features nor tell the model of a row."""
    return [name for name in rows.names if name not in served.features and name not in pick.columns]


def predict_document(models: Models, options: PredictionOptions, rows: Input, pick: Pick, progress: Progress) -> Json:
    """Return the answer for the rows of a file, which are asked about in requests.

    Raises DataError, with the place, for the first row that can't be answered.
    """
    answers = []
    features = models.served.features
    for batch in rows.batches(features, {*features, *pick.columns}):
        for start, instances, names in requests_of(models, batch, pick):
            try:
                answers.append(models.ask(options.request(instances, names)))
            except RefusedInstanceError as exc:
                raise batch.error(start + exc.instance, str(exc)) from exc
    _say_filled(rows, progress)
    if not answers:
        progress.say(f"{rows.location}: the file has no rows")
    document = joined(answers) if answers else _nothing(models, pick)
    extra = extra_columns(rows, models.served, pick)
    if extra:
        document["warnings"] = [ignored_names(extra)]
        progress.say(f"{rows.location}: {document['warnings'][0]}")
    return document


def _say_filled(rows: Input, progress: Progress) -> None:
    for name in sorted(rows.lacked):
        progress.say(f"{rows.location}: column {name!r} is not there: every row has what replaces a missing value")


def predict_rows(
    models: Models,
    options: PredictionOptions,
    rows: Input,
    pick: Pick,
    target: Target,
    *,
    progress: Progress,
    prefix: str = "",
    strict: bool = False,
) -> Written:
    """Write the rows of a file with their predictions; a row that can't be answered has its reason in `error`.

    The added columns are named `prefix` + `prediction`, `conf_low`, …, `dataset`, `error`; a column `dataset` that
    names the models stays the only one. Raises UsageError if the file has a column of such a name; with `strict`,
    DataError for the first row that can't be answered.
    """
    if options.extrapolation or options.explanations:
        raise UsageError("--extrapolation and --explanations are not written by --output: leave them out")
    added = _added(options, pick, prefix)
    _refuse_clash(rows, added)
    schema = rows.schema()
    for name in added:
        schema = schema.append(
            pa.field(name, pa.string() if name in (prefix + DATASET, prefix + "error") else pa.float64())
        )
    num_rows = num_errors = 0
    first_error = None
    with writing(target, schema) as writer:
        for batch in rows.batches(models.served.features, rows.names):
            answers = answer_batch(models, batch, pick, options)
            if answers.reasons and (strict or first_error is None):
                row = min(answers.reasons)
                error = batch.error(row, answers.reasons[row])
                if strict:
                    raise error
                first_error = str(error)
            table = appended(pa.table(dict(batch.columns.raws)), _columns(answers, added, prefix))
            writer.write(table.cast(schema))
            num_rows, num_errors = num_rows + batch.num_rows, num_errors + len(answers.reasons)
    _say_filled(rows, progress)
    return Written(num_rows, num_errors, first_error)


def _added(options: PredictionOptions, pick: Pick, prefix: str) -> list[str]:
    bounds = BOUNDS if options.interval is not None else ()
    dataset = () if pick.columns == (DATASET,) and not prefix else (DATASET,)
    return [prefix + name for name in ("prediction", *bounds, *dataset, "error")]


def _refuse_clash(rows: Input, added: Sequence[str]) -> None:
    for name in added:
        if name in rows.names:
            raise UsageError(
                f"{rows.location} has a column {name!r}, the name of a column that is added: set --column-prefix, "
                "such as --column-prefix new_, or rename it"
            )


def _columns(answers: Answers, added: Sequence[str], prefix: str) -> list[tuple[str, Any]]:
    """Return the added columns: null where there is no number, and where there is no error."""
    columns: dict[str, Any] = {"prediction": _numbers(answers.prediction_n)}
    if answers.confidence_n2 is not None and answers.interval_n2 is not None:
        ends = (*answers.confidence_n2.T, *answers.interval_n2.T)
        columns |= {name: _numbers(end_n) for name, end_n in zip(BOUNDS, ends, strict=True)}
    code_n = pa.array(answers.picked.code_n.astype(np.int32), mask=answers.picked.code_n < 0)
    columns[DATASET] = pa.array(answers.picked.names, pa.string()).take(code_n)
    error_n = np.full(len(answers.prediction_n), None, dtype=object)
    for row, reason in answers.reasons.items():
        error_n[row] = reason
    columns["error"] = pa.array(error_n, pa.string())
    return [(name, columns[name.removeprefix(prefix)]) for name in added]


def _numbers(value_n: Any) -> Any:
    return pa.array(value_n, pa.float64(), mask=np.isnan(value_n))


def joined(answers: Sequence[Json]) -> Json:
    """Return the answers to consecutive rows as one."""
    if len(answers) == 1:
        return answers[0]
    whole = dict(answers[0])
    for name in ("predictions", "extrapolations", "explanations"):
        if name in whole:
            whole[name] = [value for one in answers for value in one[name]]
    if "intervals" in whole:
        names = [name for name in INTERVALS if any(name in one["intervals"] for one in answers)]
        whole["intervals"] = {"level": whole["intervals"]["level"]} | {
            name: [
                value
                for one in answers
                for value in one["intervals"].get(name, [None] * len(one["predictions"]))  # there may be no reasons
            ]
            for name in names
        }
    whole["model"] = whole["model"] | {DATASET: _joined_datasets(answers)}
    return whole


def _joined_datasets(answers: Sequence[Json]) -> str | list[str]:
    named = [one["model"][DATASET] for one in answers]
    if all(name == named[0] and isinstance(name, str) for name in named):
        return str(named[0])
    return [
        dataset
        for one, name in zip(answers, named, strict=True)
        for dataset in (name if isinstance(name, list) else [name] * len(one["predictions"]))
    ]


def _nothing(models: Models, pick: Pick) -> Json:
    """Return the answer for no rows."""
    served = models.served
    model = {"collection": served.collection, "version": served.version, DATASET: pick.dataset or []}
    return {"predictions": [], "model": model}
