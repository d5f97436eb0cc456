"""How a challenger stands against the champion: by one metric, on the same rows where they can be had.

`train_loss` and `val_loss` are a metric for each loss, and for each delta or quantile of it: a Huber loss says nothing
of a mean absolute error. The champion's row records which it was.

Shapes: n rows · d encoded columns · p weights (d, and the bias last where there is one).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from jobs.champions.selection import Basis, Comparison, compare
from jobs.engines.moments import mse
from jobs.sources.dataset import Dataset
from jobs.sources.validation_split import TRAINS
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version

if TYPE_CHECKING:
    from jobs.champions.challenger import Challenger

OF_THE_LOSS = ("train_loss", "val_loss")
SQUARED = ("train_mse", "val_mse", "r2")


def recorded_loss(champion: Mapping[str, Any]) -> str | None:
    """Return the loss of a champion; None where its row is older than the column and the engine does not tell."""
    if champion["loss"] is None and champion["engine"] == "closed_form":
        return "mse"
    loss: str | None = champion["loss"]
    return loss


def against(
    ledger: Ledger,
    challenger: Challenger,
    row: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    head: Version | None,
) -> Comparison:
    """Return how a challenger, with its row for the champion table, stands against the champion in `head`."""
    policy = challenger.policy
    basis: Basis
    if champion is None or head is None:
        score, basis = None, "first"
    elif champion["checkpoint"] == row["checkpoint"] and champion["fingerprint"] == row["fingerprint"]:
        return Comparison(False, "it is the champion already", "same rows", challenger.score, challenger.score)
    else:
        score, basis = _champion_score(ledger, challenger, row, champion, head)
    return compare(
        challenger.score,
        score,
        basis=basis,
        mode=policy.mode,
        promote=policy.promote,
        min_improvement=policy.min_improvement,
    )


def _champion_score(
    ledger: Ledger, challenger: Challenger, row: Mapping[str, Any], champion: Mapping[str, Any], head: Version
) -> tuple[float | None, Basis]:
    """Return the champion's score on the challenger's rows: the recorded one if rows and metric are the same.

    A champion over other features can't be applied to these rows: then its recorded score is all there is, if any.
    """
    trained, metric = challenger.trained, challenger.policy.metric
    same_loss = metric not in OF_THE_LOSS or recorded_loss(champion) == row["loss"]
    recorded = champion["score"] if champion["metric"] == metric and same_loss else None
    if champion["fingerprint"] == trained.fingerprint and recorded is not None:
        return recorded, "same rows"
    model = ledger.champion(head.collection, trained.name, head.number)
    if model.card != trained.card or (metric in OF_THE_LOSS and challenger.dataset is None):
        return recorded, "as recorded"
    weight_p = model.stack.weight_md[model.stack_row]
    if model.stack.bias_m is not None:
        weight_p = torch.cat([weight_p, model.stack.bias_m[model.stack_row].reshape(1)])
    if metric in SQUARED:
        return _squared(challenger, weight_p), "scored again"
    return _loss(challenger, weight_p), "scored again"


def _squared(challenger: Challenger, weight_p: Tensor) -> float:
    """Return a mean squared error, or R², of weights, from the cross-products of the challenger's rows."""
    trained, metric = challenger.trained, challenger.policy.metric
    rows = trained.scored if metric == "val_mse" else trained.trained
    error = mse(rows, weight_p[None, None], trained.card.bias)[0, 0].item()
    return 1 - error * rows.num_rows_m[0].item() / rows.y_scatter_m[0].item() if metric == "r2" else error


def _loss(challenger: Challenger, weight_p: Tensor) -> float:
    """Return the mean of the challenger's loss over its rows, of weights."""
    trained, dataset, point = challenger.trained, challenger.dataset, challenger.point
    assert dataset is not None  # noqa: S101 - asked before
    x_nd, y_n = _rows(dataset, validate=challenger.policy.metric == "val_loss")
    d = x_nd.shape[1]
    residual_n = x_nd @ weight_p[:d] - y_n
    if trained.card.bias:
        residual_n += weight_p[d]
    loss = trained.settings.new_loss(trained.hyperparameters.take(torch.tensor([point])))
    return loss.total(residual_n[:, None]).item() / len(y_n)


def _rows(dataset: Dataset, *, validate: bool) -> tuple[Tensor, Tensor]:
    """Return the rows that validate, or those that train: with folds, or without validation, all of them."""
    x_nd, y_n = torch.tensor(dataset.x_nd, dtype=torch.float64), torch.tensor(dataset.y_n, dtype=torch.float64)
    if dataset.fold_n is None or (dataset.fold_n != TRAINS).all():
        return x_nd, y_n
    wanted_n = torch.from_numpy((dataset.fold_n != TRAINS) == validate)
    return x_nd[wanted_n], y_n[wanted_n]
