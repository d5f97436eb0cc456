"""How far the predictions of two versions lie apart, in residual standard deviations of the version that serves.

A standard deviation is on the scale of training: with a transform of the target, both predictions are transformed.

Shapes: n rows of a request · m models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..answers.answering import encode_and_predict
from ..answers.pieces import Piece, pieces_of
from ..models.fleet import Fleet
from ..requests.parsing import parse
from ..requests.payload import Request
from ..rows.encoding import Floats
from ..rows.transforms import transformed_target

RELATIVE_FLOOR = 1e-6  # of a prediction: a fit without residuals has no smaller standard deviation than that
SAME = 1e-9
TRAIN_MSE = "train_mse"


@np.errstate(all="ignore")  # what is not finite is infinitely far
def distances(base: Fleet, new: Fleet, request: Request) -> tuple[Floats, list[str]]:
    """Return the distance |new - old| / s of each row, of shape (n,), and its dataset.

    It is NaN where the predictions differ and the old model has no residual standard deviation. Raises HandlerError if
    one of the fleets can't answer the request.
    """
    old_n, pieces = _predictions(base, request)
    new_n, _ = _predictions(new, request)
    distance_n, datasets = np.empty(len(old_n)), [""] * len(old_n)
    for piece in pieces:
        at = np.asarray(piece.positions)
        transform = base.stacks[piece.stack].card.target_transform
        old, fresh = transformed_target(transform, old_n[at]), transformed_target(transform, new_n[at])
        distance_n[at] = _distance(old, fresh, _deviation(base, piece))
        for position, dataset in zip(piece.positions, piece.datasets, strict=True):
            datasets[position] = dataset
    return distance_n, datasets


def _distance(old_n: Floats, new_n: Floats, deviation_n: Floats) -> Floats:
    apart_n = np.abs(new_n - old_n)
    scale_n = np.maximum(deviation_n, RELATIVE_FLOOR * np.abs(old_n))
    is_same_n = apart_n <= SAME * np.maximum(np.abs(old_n), np.finfo(np.float64).tiny)
    distance_n = np.where(np.isfinite(apart_n), apart_n / scale_n, np.inf)
    return np.where(is_same_n, 0.0, distance_n)


def _deviation(fleet: Fleet, piece: Piece) -> Floats:
    """Return the residual standard deviation of each row's model, of shape (n,); NaN where it is not known."""
    statistics = fleet.stacks[piece.stack].statistics
    stored_m = None if statistics is None else statistics.residual_variance_m
    variance = np.nan if stored_m is None else stored_m[piece.models]
    variance_n = np.array(np.broadcast_to(variance, len(piece.positions)), np.float64)
    if np.isnan(variance_n).any():
        variance_n = np.where(np.isnan(variance_n), _training_error(fleet, piece.datasets), variance_n)
    deviation_n: Floats = np.sqrt(variance_n)
    return deviation_n


def _training_error(fleet: Fleet, datasets: Sequence[str]) -> Floats:
    """Return the mean squared error of training of each dataset, of shape (n,); NaN where it is not known."""
    stored = fleet.facts.numbers.get(TRAIN_MSE)
    if stored is None:
        return np.full(len(datasets), np.nan)
    known = {dataset: float(stored[fleet.position(dataset)]) for dataset in set(datasets)}
    return np.array([known[dataset] for dataset in datasets])


def _predictions(fleet: Fleet, request: Request) -> tuple[Floats, list[Piece]]:
    """Return the predictions in units of the target, of shape (n,), and the pieces that they are of."""
    query = parse(request, fleet)
    prediction_n = np.empty(len(query.instances))
    pieces = pieces_of(fleet, query, 0)
    for piece in pieces:
        _, prediction_n[np.asarray(piece.positions)] = encode_and_predict(
            fleet.stacks[piece.stack], piece.columns, piece.models
        )
    return prediction_n, pieces
