"""Score the rows that one stack answers: those that can't be encoded get a reason, and the others their predictions.

Shapes: n rows · k raw features · d encoded columns · p weights of a model (d, and one more with a bias).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handler.answers import scoring
from handler.answers.answering import encode_and_predict
from handler.answers.missing_intervals import reasons_of
from handler.errors import EncodingError
from handler.models.stack import ServedStack
from handler.rows.encoding import Floats

Rows = NDArray[np.intp]

BEYOND = "the prediction is beyond float64: give smaller values"


@dataclass(frozen=True)
class Scores:
    """Predictions and bounds of n rows, NaN where there is none; a reason for each row that could not be answered."""

    prediction_n: Floats
    confidence_n2: Floats | None
    interval_n2: Floats | None
    reasons: dict[int, str] = field(default_factory=dict)


@np.errstate(over="ignore", invalid="ignore")  # an overflow is found in the result
def score_rows(
    stack: ServedStack,
    columns: Mapping[str, NDArray[np.generic]],
    model_n: Rows,
    level: float | None = None,
    datasets: Sequence[str] = (),
) -> Scores:
    """Return the scores of rows by their models in a stack; with `level`, their intervals.

    `datasets` are the names of the rows' datasets, for the reasons of rows that can't have an interval.
    """
    n = len(model_n)
    confidence_n2, interval_n2 = np.full((2, n, 2), np.nan) if level is not None else (None, None)
    scores = Scores(np.full(n, np.nan), confidence_n2, interval_n2)
    waiting = [np.arange(n)]
    while waiting:
        rows = waiting.pop()
        part = {name: values[rows] for name, values in columns.items()} if len(rows) < n else dict(columns)
        try:
            x_nd, prediction_n = encode_and_predict(stack, part, _models(model_n[rows]))
        except EncodingError as exc:
            same_n = _alike(part, model_n[rows], exc)
            scores.reasons.update(dict.fromkeys(rows[same_n].tolist(), str(exc)))
            rest = rows[~same_n]
            waiting += [half for half in np.array_split(rest, 2) if len(half)]
            continue
        _write(scores, rows, prediction_n)
        if level is not None:
            _write_bounds(scores, stack, rows, model_n[rows], x_nd, level, datasets)
    return scores


def _models(model_n: Rows) -> scoring.Models:
    """Return the model of each row, or the only one, for which nothing is gathered."""
    return int(model_n[0]) if (model_n == model_n[0]).all() else model_n


def _alike(columns: Mapping[str, NDArray[np.generic]], model_n: Rows, error: EncodingError) -> NDArray[np.bool_]:
    """Return the rows that have the same error: that row, and those of its model with the same text or none there."""
    same_n = np.zeros(len(model_n), dtype=bool)
    if error.feature in columns:
        value_n = columns[error.feature]
        value = value_n[error.row]
        if isinstance(value, str) or value is None:
            same_n = np.asarray(value_n == value, dtype=bool)
        elif np.isnan(value):
            same_n = np.isnan(value_n)
        same_n &= model_n == model_n[error.row]
    same_n[error.row] = True
    return same_n


def _write(scores: Scores, rows: Rows, prediction_n: Floats) -> None:
    """Write the predictions of some rows; one that overflowed is a reason."""
    finite_n = np.isfinite(prediction_n)
    scores.reasons.update(dict.fromkeys(rows[~finite_n].tolist(), BEYOND))
    scores.prediction_n[rows[finite_n]] = prediction_n[finite_n]


def _write_bounds(
    scores: Scores,
    stack: ServedStack,
    rows: Rows,
    model_n: Rows,
    x_nd: Floats,
    level: float,
    datasets: Sequence[str],
) -> None:
    """Write the bounds of the rows that have a prediction; a row without bounds has a reason."""
    assert scores.confidence_n2 is not None  # noqa: S101 - there is a level
    assert scores.interval_n2 is not None  # noqa: S101
    prediction_n = scores.prediction_n[rows]
    bounds = scoring.intervals(stack, _models(model_n), x_nd, prediction_n, level)
    lacks = reasons_of(stack, model_n, x_nd, bounds, [datasets[row] for row in rows.tolist()])
    known_n = np.isfinite(prediction_n)
    known_n[list(lacks)] = False
    scores.confidence_n2[rows[known_n]] = bounds.confidence_n2[known_n]
    scores.interval_n2[rows[known_n]] = bounds.prediction_n2[known_n]
    for at, reason in lacks.items():
        scores.reasons.setdefault(int(rows[at]), reason)
