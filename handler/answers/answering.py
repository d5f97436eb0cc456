"""Turn requests into answers: parse, find the models, encode, score and respond.

A wrong request fails alone. The rows of all other requests that need the same stack are encoded and scored together.
Shapes: n rows of a stack, over all requests · d encoded columns · k raw features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import EncodingError, HandlerError, PayloadError
from ..models.fleet import Fleet
from ..models.stack import ServedStack
from ..requests.columns import Columns
from ..requests.parsing import parse
from ..requests.payload import Query, Request
from ..rows.encoding import Floats, encode
from . import responses, scoring
from .bodies import to_json
from .collector import PausedCollector
from .pieces import Piece, pieces_of
from .scored import Scored
from .scoring import Models

OK = 200


@dataclass(frozen=True)
class Answer:
    """The status, the body and the headers for one request, and its numbers for the metrics."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    num_rows: int = 0
    num_extrapolations: int = 0
    reason: str | None = None


def refusal(error: HandlerError) -> Answer:
    """Return the answer to a wrong request: a JSON object with the keys of TorchServe's own errors.

    The clients of KServe and Triton show `error`, all others `message`.
    """
    message = str(error)
    document = {"code": error.status, "type": type(error).__name__, "message": message, "error": message}
    return Answer(error.status, to_json(document), reason=error.reason)


@np.errstate(over="ignore", invalid="ignore")  # an overflow is found in the result, and refused
def answer(fleet: Fleet, requests: Sequence[Request]) -> list[Answer]:
    """Return one answer for each request, in their order."""
    with PausedCollector():
        return _answers(fleet, requests)


def _answers(fleet: Fleet, requests: Sequence[Request]) -> list[Answer]:
    """Return the answers; an error becomes one at once, as a kept error would keep the body of its request."""
    queries: dict[int, Query] = {}
    pieces: list[Piece] = []
    refused: dict[int, Answer] = {}
    for number, request in enumerate(requests):
        try:
            query = parse(request, fleet)
            pieces += pieces_of(fleet, query, number)
            queries[number] = query
        except HandlerError as exc:
            refused[number] = refusal(exc)
    scored = _score_all(fleet, pieces, refused)
    return [
        refused[number] if number in refused else _answer(fleet, queries[number], scored[number])
        for number in range(len(requests))
    ]


def _answer(fleet: Fleet, query: Query, scored: Sequence[Scored]) -> Answer:
    num_extrapolations = sum(int(one.outside_nk.any(axis=1).sum()) for one in scored if one.outside_nk.any())
    try:
        body = responses.body(fleet, query, scored)
        return Answer(OK, body.content, body.content_type, body.headers, len(query.instances), num_extrapolations)
    except HandlerError as exc:
        return refusal(exc)


def _score_all(fleet: Fleet, pieces: Sequence[Piece], refused: dict[int, Answer]) -> defaultdict[int, list[Scored]]:
    """Return the scores of each request; add the answer to each wrong request to `refused`."""
    scored: defaultdict[int, list[Scored]] = defaultdict(list)
    pieces_of_stack: defaultdict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        pieces_of_stack[piece.stack].append(piece)
    for stack, all_pieces in sorted(pieces_of_stack.items()):
        waiting = [piece for piece in all_pieces if piece.request not in refused]
        while waiting:
            try:
                for one in _score(fleet.stacks[stack], waiting):
                    scored[one.piece.request].append(one)
                break
            except PieceError as exc:
                refused[exc.request] = refusal(exc.error)
                waiting = [piece for piece in waiting if piece.request != exc.request]
    return scored


class PieceError(Exception):
    """The piece of one request is wrong; the other pieces of its stack have no scores yet."""

    def __init__(self, request: int, error: HandlerError) -> None:
        super().__init__(str(error))
        self.request = request
        self.error = error


def _score(stack: ServedStack, pieces: Sequence[Piece]) -> list[Scored]:
    """Return the scores of these pieces. Raises PieceError for the first piece that can't be encoded, or overflows."""
    columns, models = _joined(pieces)
    try:
        x_nd, prediction_n = encode_and_predict(stack, columns, models)
    except EncodingError as exc:
        raise _piece_error(pieces, exc) from exc
    raw_nk = _raw(stack, columns)
    outside_nk = scoring.outside_range(stack, models, raw_nk)
    if len(pieces) == 1:
        return [_finite(Scored(pieces[0], x_nd, raw_nk, prediction_n, outside_nk))]
    results, start = [], 0
    for piece in pieces:
        rows = slice(start, start + len(piece.positions))
        results.append(_finite(Scored(piece, x_nd[rows], raw_nk[rows], prediction_n[rows], outside_nk[rows])))
        start = rows.stop
    return results


def encode_and_predict(stack: ServedStack, columns: Columns, models: Models) -> tuple[Floats, Floats]:
    """Return the encoded rows (n, d) and their predictions (n,), not finite where a sum overflows.

    Raises EncodingError for a value that can't be encoded.
    """
    fill = None if stack.statistics is None or not stack.card.fills else stack.statistics.fill_mk[models]
    x_nd = encode(stack.card, columns, fill)
    return x_nd, scoring.predict(stack, models, x_nd)


def _joined(pieces: Sequence[Piece]) -> tuple[Columns, Models]:
    """Return the concatenated columns of all pieces, and the model of each row."""
    if len(pieces) == 1:
        return pieces[0].columns, pieces[0].models
    columns = {name: np.concatenate([piece.columns[name] for piece in pieces]) for name in pieces[0].columns}
    models = [np.broadcast_to(np.asarray(piece.models, np.intp), len(piece.positions)) for piece in pieces]
    return columns, np.concatenate(models)


def _piece_error(pieces: Sequence[Piece], error: EncodingError) -> PieceError:
    """Return the error with the request and the instance that caused it."""
    row = error.row
    for piece in pieces:
        if row < len(piece.positions):
            break
        row -= len(piece.positions)
    message = f"instance {piece.positions[row]}: {error}"
    return PieceError(
        piece.request, EncodingError(message, feature=error.feature, row=piece.positions[row], value=error.value)
    )


def _finite(one: Scored) -> Scored:
    """Return the scores. Raises PieceError if a prediction overflowed."""
    finite = np.isfinite(one.prediction_n)
    if not finite.all():
        position = one.piece.positions[int(np.argmin(finite))]
        error = PayloadError(f"instance {position}: its prediction is beyond float64: give smaller values")
        raise PieceError(one.piece.request, error)
    return one


def _raw(stack: ServedStack, columns: Columns) -> Floats:
    """Return the raw values, of shape (n, k); NaN for categorical features."""
    features = stack.card.features
    if len(features) == 1 and features[0].kind == "numeric":
        return columns[features[0].name][:, None]  # type: ignore[return-value]  # numeric columns are float64
    raw_nk = np.full((len(next(iter(columns.values()))), len(features)), np.nan)
    for k, feature in enumerate(features):
        if feature.kind != "categorical":
            raw_nk[:, k] = columns[feature.name]
    return raw_nk
