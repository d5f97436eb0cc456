"""Answer the rows of a batch: those that can't be answered get a reason, the others their predictions.

A row that has a prediction and can't have an interval has both.

Shapes: n rows · m datasets of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.errors import NotServedError
from handler.rows.encoding import Floats
from handler.rows.model_card import Feature
from jobs.prediction.models import EndpointModels, Json, Models, PredictionOptions, RefusedInstanceError, StoredModels
from jobs.prediction.picking import Pick, Picked, picked
from jobs.prediction.scores import score_rows
from jobs.prediction.values import Batch, Typed

Rows = NDArray[np.intp]

ROWS_PER_REQUEST = 1000
NO_BOUNDS = (np.nan, np.nan)
EMPTY_KEY = "column {!r} is empty: it names the model of the row"


@dataclass
class Answers:
    """The answers to n rows: NaN where there is none, and then a reason; `picked` is the dataset of each."""

    picked: Picked
    prediction_n: Floats
    confidence_n2: Floats | None
    interval_n2: Floats | None
    reasons: dict[int, str] = field(default_factory=dict)

    def name(self, row: int) -> str:
        """Return the dataset of a row."""
        return self.picked.names[int(self.picked.code_n[row])]


@dataclass(frozen=True)
class Portion:
    """The rows of a batch that models of one card answer: the features of the card, and of a stack, each row's model.

    Of an endpoint, all rows with all features that the file has.
    """

    rows: Rows
    features: Sequence[Feature]
    stack: int = 0
    model_n: Rows | None = None


def pick_rows(batch: Batch, pick: Pick) -> tuple[Picked, dict[int, str]]:
    """Return the dataset of each row, and a reason for each row whose key is empty."""
    texts = [batch.text(name) for name in pick.columns]
    found = picked(pick, texts, batch.num_rows)
    reasons: dict[int, str] = {}
    for name, text in zip(pick.columns, texts, strict=True):
        for row in np.flatnonzero(text.code_n < 0).tolist():
            reasons.setdefault(row, EMPTY_KEY.format(name))
    return found, reasons


def portions_of(models: Models, batch: Batch, found: Picked) -> tuple[list[Portion], dict[int, str]]:
    """Return the rows by the cards of their models, and a reason for each row whose dataset is not served."""
    named_n = found.code_n >= 0
    if isinstance(models, EndpointModels):
        served = models.served
        everywhere = set.intersection(*({feature.name for feature in card} for card in served.cards))
        asked = [each for each in served.features.values() if each.name in batch.rows.names or each.name in everywhere]
        return [Portion(np.flatnonzero(named_n), asked)], {}
    fleet = models.fleet
    position_m, unknown = np.full(len(found.names), -1), {}
    for at in np.unique(found.code_n[named_n]).tolist():
        try:
            position_m[at] = fleet.position(found.names[at])
        except NotServedError as exc:
            unknown[at] = str(exc)
    position_n = np.where(named_n, position_m[found.code_n], -1)
    reasons = {row: unknown[int(found.code_n[row])] for row in np.flatnonzero(named_n & (position_n < 0)).tolist()}
    stack_n = np.where(position_n < 0, -1, fleet.stack_n[position_n])
    portions = []
    for stack in np.unique(stack_n[stack_n >= 0]).tolist():
        rows = np.flatnonzero(stack_n == stack)
        model_n = fleet.row_n[position_n[rows]].astype(np.intp)
        portions.append(Portion(rows, fleet.stacks[stack].card.features, stack, model_n))
    return portions, reasons


def answer_batch(models: Models, batch: Batch, pick: Pick, options: PredictionOptions) -> Answers:
    """Return the answers to a batch. Raises DataError if the file lacks a column, or has one of another type."""
    found, reasons = pick_rows(batch, pick)
    n, level = batch.num_rows, options.interval
    confidence_n2, interval_n2 = (np.full((2, n, 2), np.nan)) if level is not None else (None, None)
    answers = Answers(found, np.full(n, np.nan), confidence_n2, interval_n2, reasons)
    portions, unknown = portions_of(models, batch, found)
    answers.reasons.update(unknown)
    for portion in portions:
        typed = batch.typed(portion.features)
        bad_n = np.zeros(n, dtype=bool)
        bad_n[list(typed.reasons)] = True
        answers.reasons.update({row: typed.reasons[row] for row in portion.rows[bad_n[portion.rows]].tolist()})
        good_n = ~bad_n[portion.rows]
        if isinstance(models, StoredModels):
            _score(models, portion, good_n, typed, answers, level)
        else:
            _ask(models, portion.rows[good_n], instances_of(batch, portion, typed), answers, options)
    return answers


def _score(
    models: StoredModels,
    portion: Portion,
    good_n: NDArray[np.bool_],
    typed: Typed,
    answers: Answers,
    level: float | None,
) -> None:
    """Write the scores of the good rows of a portion."""
    rows = portion.rows[good_n]
    if portion.model_n is None or not len(rows):
        return
    columns = {name: value_n[rows] for name, value_n in typed.values.items()}
    names = [answers.name(row) for row in rows.tolist()] if level is not None else ()
    scores = score_rows(models.fleet.stacks[portion.stack], columns, portion.model_n[good_n], level, names)
    answers.prediction_n[rows] = scores.prediction_n
    answers.reasons.update({int(rows[at]): reason for at, reason in scores.reasons.items()})
    if answers.confidence_n2 is None or answers.interval_n2 is None:
        return
    answers.confidence_n2[rows], answers.interval_n2[rows] = scores.confidence_n2, scores.interval_n2


def _ask(models: Models, rows: Rows, instances: Sequence[Json], answers: Answers, options: PredictionOptions) -> None:
    """Write what an endpoint answers to rows; each row for which it refuses a request gets the reason."""
    waiting = [rows[start : start + ROWS_PER_REQUEST] for start in range(0, len(rows), ROWS_PER_REQUEST)]
    while waiting:
        part = waiting.pop()
        names = [answers.name(row) for row in part.tolist()]
        try:
            document = models.ask(options.request([instances[row] for row in part.tolist()], names))
        except RefusedInstanceError as exc:
            answers.reasons[int(part[exc.instance])] = str(exc)
            rest = np.delete(part, exc.instance)
            waiting += [rest] if len(rest) else []
            continue
        answers.prediction_n[part] = document["predictions"]
        if answers.confidence_n2 is not None and answers.interval_n2 is not None:
            intervals = document["intervals"]
            answers.confidence_n2[part] = [bounds or NO_BOUNDS for bounds in intervals["confidence"]]
            answers.interval_n2[part] = [bounds or NO_BOUNDS for bounds in intervals["prediction"]]
            lacks = enumerate(intervals.get("reasons", ()))
            answers.reasons.update({int(part[at]): reason for at, reason in lacks if reason})


def instances_of(batch: Batch, portion: Portion, typed: Typed) -> list[Json]:
    """Return every row of a batch as an instance with the features of a portion; a missing value is None."""
    columns = {}
    for feature in portion.features:
        value_n = typed.values[feature.name]
        if feature.kind == "datetime" and feature.name in batch.columns.raws:
            value_n = batch.text(feature.name).cells()
        columns[feature.name] = _or_none(value_n).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _or_none(value_n: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as they are; as objects, with None for NaN, where some are missing."""
    if value_n.dtype == object or not (missing_n := np.isnan(value_n)).any():
        return value_n
    cell_n = value_n.astype(object)
    cell_n[missing_n] = None
    return cell_n


def requests_of(models: Models, batch: Batch, pick: Pick) -> Iterator[tuple[int, list[Json], list[str]]]:
    """Yield the rows of a batch as requests: the first row, the instances, and the dataset of each.

    Raises DataError, with the place, for the first row that can't be asked about.
    """
    found, reasons = pick_rows(batch, pick)
    portions, unknown = portions_of(models, batch, found)
    reasons |= unknown
    whole: list[Json] = [{}] * batch.num_rows
    for portion in portions:
        typed = batch.typed(portion.features)
        instances = instances_of(batch, portion, typed)
        for row in portion.rows.tolist():
            whole[row] = instances[row]
            if row in typed.reasons:
                reasons.setdefault(row, typed.reasons[row])
    if reasons:
        raise batch.error(min(reasons), reasons[min(reasons)])
    for start in range(0, batch.num_rows, ROWS_PER_REQUEST):
        stop = start + ROWS_PER_REQUEST
        yield start, whole[start:stop], [found.names[code] for code in found.code_n[start:stop].tolist()]
