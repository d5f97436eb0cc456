"""From requests to answers: parse, place, encode, score and respond, each request on its own merits.

One wrong request fails alone; the rows of all others that share a stack are encoded and scored together.
Shapes: n rows of a stack, over all requests · d encoded columns · k raw features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import responses, scoring
from .encoding import encode
from .errors import EncodingError, HandlerError, PayloadError
from .fleet import Fleet
from .instances import Columns
from .payload import Query, Request, parse
from .pieces import Piece, pieces_of
from .responses import Scored
from .scoring import Floats, ServedStack

OK = 200


@dataclass(frozen=True)
class Answer:
    """The status and the JSON body for one request, and what the metrics count of it."""

    status: int
    body: bytes
    num_rows: int = 0
    num_extrapolations: int = 0
    reason: str | None = None


def answer(fleet: Fleet, requests: Sequence[Request]) -> list[Answer]:
    """Return one answer for each request, in their order."""
    answers: dict[int, Answer] = {}
    queries: dict[int, Query] = {}
    pieces: list[Piece] = []
    for number, request in enumerate(requests):
        try:
            query = parse(request)
            pieces += pieces_of(fleet, query, number)
            queries[number] = query
        except HandlerError as exc:
            answers[number] = _refusal(exc)
    scored, refused = _score_all(fleet, pieces, queries)
    for number, query in queries.items():
        if number in refused:
            answers[number] = _refusal(refused[number])
            continue
        try:
            answers[number] = _success(fleet, query, scored[number])
        except HandlerError as exc:
            answers[number] = _refusal(exc)
    return [answers[number] for number in range(len(requests))]


def _success(fleet: Fleet, query: Query, scored: Sequence[Scored]) -> Answer:
    num_extrapolations = sum(int(part.outside_nk.any(axis=1).sum()) for part in scored)
    return Answer(OK, responses.body(fleet, query, scored), len(query.instances), num_extrapolations)


def _refusal(error: HandlerError) -> Answer:
    return Answer(error.status, responses.error_body(error), reason=error.reason)


def _score_all(
    fleet: Fleet, pieces: Sequence[Piece], queries: dict[int, Query]
) -> tuple[dict[int, list[Scored]], dict[int, HandlerError]]:
    """Return the scores of each request, and the requests that were found wrong on the way, with the reason."""
    scored: dict[int, list[Scored]] = {number: [] for number in queries}
    refused: dict[int, HandlerError] = {}
    for stack in sorted({piece.stack for piece in pieces}):
        waiting = [piece for piece in pieces if piece.stack == stack and piece.request not in refused]
        while waiting:
            try:
                for part in _score(fleet.stacks[stack], waiting):
                    scored[part.piece.request].append(part)
                break
            except PieceError as exc:
                refused[exc.request] = exc.error
                waiting = [piece for piece in waiting if piece.request != exc.request]
    return scored, refused


class PieceError(Exception):
    """The piece of one request is wrong; the others of its stack have not been scored yet."""

    def __init__(self, request: int, error: HandlerError) -> None:
        super().__init__(str(error))
        self.request = request
        self.error = error


def _score(stack: ServedStack, pieces: Sequence[Piece]) -> list[Scored]:
    """Return the scores of these pieces. Raises PieceError for the first that can't be encoded, or overflows."""
    whole = pieces[0] if len(pieces) == 1 else None
    model_n = whole.model_n if whole else np.concatenate([piece.model_n for piece in pieces])
    columns = whole.columns if whole else _stacked(pieces)
    starts = np.cumsum([0, *(len(piece.model_n) for piece in pieces)])
    fill_nk = stack.statistics.fill_mk[model_n] if stack.statistics is not None else None
    try:
        x_nd = encode(stack.card, columns, fill_nk)
    except EncodingError as exc:
        piece = pieces[int(np.searchsorted(starts, exc.row, side="right")) - 1]
        row = exc.row - int(starts[pieces.index(piece)])
        named = EncodingError(
            f"instance {piece.positions[row]}: {exc}", feature=exc.feature, row=exc.row, value=exc.value
        )
        raise PieceError(piece.request, named) from exc
    prediction_n = scoring.predict(stack, model_n, x_nd)
    raw_nk = _raw(stack, columns)
    outside_nk = scoring.outside_range(stack, model_n, raw_nk)
    parts = []
    for piece, start in zip(pieces, starts.tolist(), strict=False):
        rows = slice(start, start + len(piece.model_n))
        part = Scored(piece, x_nd[rows], raw_nk[rows], prediction_n[rows], outside_nk[rows])
        _refuse_overflow(part)
        parts.append(part)
    return parts


def _refuse_overflow(part: Scored) -> None:
    finite = np.isfinite(part.prediction_n)
    if not finite.all():
        position = part.piece.positions[int(np.argmin(finite))]
        error = PayloadError(f"instance {position}: its prediction is beyond float64: give smaller values")
        raise PieceError(part.piece.request, error)


def _stacked(pieces: Sequence[Piece]) -> Columns:
    return {name: np.concatenate([piece.columns[name] for piece in pieces]) for name in pieces[0].columns}


def _raw(stack: ServedStack, columns: Columns) -> Floats:
    """Return the raw values, of shape (n, k); NaN for categorical features."""
    num_rows = len(next(iter(columns.values())))
    raw_nk = np.full((num_rows, len(stack.card.features)), np.nan)
    for k, feature in enumerate(stack.card.features):
        if feature.kind == "numeric":
            raw_nk[:, k] = columns[feature.name]
    return raw_nk
