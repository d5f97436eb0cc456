"""Score champions on the rows of the challengers: from moments, or from the rows of a listed dataset.

Shapes: n rows · d encoded columns · t trials (champions) · p weights (of a champion) · q columns of z = [x, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handler.models.stack import Stack
from jobs.champions.challengers import Challengers, weights
from jobs.champions.comparison import NEITHER, OF_THE_LOSS, OTHER, Floats
from jobs.champions.translation import UntranslatableError, question_of, translated
from jobs.champions.wider_rows import rows_for
from jobs.engines.hyperparameters import reads
from jobs.engines.losses import LOSSES, Loss
from jobs.engines.moments import Moments, moments_of, mse
from jobs.sources.dataset import Dataset
from jobs.sources.resolved import ResolvedSource
from jobs.sources.validation_split import TRAINS

NOT_KEPT = (
    "the champion has no score by this loss on these rows, and those of scanned sources are not kept to compute one"
)


class IncomparableError(ValueError):
    """A champion has no score on the rows of a challenger; the message says why, `basis` what kind of reason it is."""

    def __init__(self, basis: int, reason: str) -> None:
        super().__init__(reason)
        self.basis = basis


@dataclass(frozen=True)
class Scoring:
    """How champions are scored on the rows of challengers; of a listed dataset there are its rows, and its files."""

    challengers: Challengers
    metric: str
    dataset: Dataset | None
    source: ResolvedSource | None

    def scores(self, stack: Stack, row_t: Tensor, place_t: Tensor) -> Floats:
        """Return the scores (t,) of the models in rows `row_t` of a stack, for the challengers at `place_t`.

        Raises IncomparableError.
        """
        card, theirs = self.challengers.stack.card, question_of(stack.card)
        if question_of(card) != theirs:
            raise IncomparableError(OTHER, f"the champion predicts {theirs}: another question")
        weight_tp, is_mse = weights(stack, row_t), self.challengers.trials["loss"][0].as_py() == "mse"
        if self.metric in OF_THE_LOSS and not is_mse:
            return self._losses(stack, weight_tp)
        try:
            weight_tq, moments = translated(card, stack.card, weight_tp), self._moments.take(place_t)
        except UntranslatableError as exc:
            rows, weight_tq = self._wider(stack, weight_tp, exc)
            x_nd, y_n, weight_n = _rows(rows, validate=self._validates)
            moments = moments_of(x_nd, y_n, weight_n=weight_n)
        error_t = mse(moments, weight_tq[:, None], bias=True)[:, 0]
        if self.metric == "r2":
            error_t = 1 - error_t * moments.num_rows_m / moments.y_scatter_m
        scores: Floats = error_t.numpy()
        return scores

    @property
    def _validates(self) -> bool:
        return self.metric.startswith("val_")

    @property
    def _moments(self) -> Moments:
        return self.challengers.score_moments if self._validates else self.challengers.train_moments

    def _losses(self, stack: Stack, weight_tp: Tensor) -> Floats:
        """Return the loss of a champion on the rows of the only challenger."""
        if self.dataset is None:
            raise IncomparableError(NEITHER, NOT_KEPT)
        try:
            rows, weight_tq = self.dataset, translated(self.dataset.card, stack.card, weight_tp)
        except UntranslatableError as exc:
            rows, weight_tq = self._wider(stack, weight_tp, exc)
        return np.array([mean_loss(rows, weight_tq[0], self._loss(), validate=self._validates)])

    def _wider(self, stack: Stack, weight_tp: Tensor, why_not: UntranslatableError) -> tuple[Dataset, Tensor]:
        """Return the rows of the only challenger as its files have them for the champion, and the weights for them."""
        wide = None
        if self.dataset is not None and self.source is not None:
            wide = rows_for(stack.card, self.dataset, self.source)
        try:
            if wide is None:
                raise why_not
            return wide, translated(wide.card, stack.card, weight_tp)
        except UntranslatableError as exc:
            raise IncomparableError(NEITHER, f"{exc}: no score to compare with") from exc

    def _loss(self) -> Loss:
        """Return the loss of the only challenger."""
        (row,) = self.challengers.trials.to_pylist()
        kind: Callable[..., Loss] = LOSSES[row["loss"]]
        return kind(**{f"{name}_g": torch.tensor([row[name]], dtype=torch.float64) for name in reads(kind)})


def mean_loss(dataset: Dataset, weight_q: Tensor, loss: Loss, *, validate: bool) -> float:
    """Return the mean of a loss over the rows of a dataset that train, or that validate."""
    x_nd, y_n, weight_n = _rows(dataset, validate=validate)
    residual_n = x_nd @ weight_q[:-1] + weight_q[-1] - y_n
    if weight_n is None:
        return loss.total(residual_n[:, None]).item() / len(y_n)
    loss_n = loss.total(residual_n[None, :, None])[:, 0]  # each row is a column of its own
    return float((weight_n * loss_n).sum() / weight_n.sum())


def _rows(dataset: Dataset, *, validate: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the rows that validate, or train, with their weights: with folds, or without validation, all of them."""
    x_nd, y_n = torch.tensor(dataset.x_nd, dtype=torch.float64), torch.tensor(dataset.y_n, dtype=torch.float64)
    weight_n = None if dataset.weight_n is None else torch.tensor(dataset.weight_n, dtype=torch.float64)
    if dataset.fold_n is None or (dataset.fold_n != TRAINS).all():
        return x_nd, y_n, weight_n
    wanted_n = torch.from_numpy((dataset.fold_n != TRAINS) == validate)
    return x_nd[wanted_n], y_n[wanted_n], None if weight_n is None else weight_n[wanted_n]
