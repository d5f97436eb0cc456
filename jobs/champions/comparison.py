"""Compare challengers with champions: by one metric, on the same rows if the job has them.

`train_loss` and `val_loss` are another metric for each loss, and for each delta or quantile of it: a Huber loss can't
be compared with a mean absolute error. The champion's row records the loss.

Shapes: m datasets · n rows · d encoded columns · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.engines.losses import Loss
from jobs.recipe import Policy
from jobs.sources.dataset import Dataset
from jobs.sources.validation_split import TRAINS

Basis = Literal["first", "same rows", "scored again", "as recorded"]
OF_THE_LOSS = ("train_loss", "val_loss")
Floats = NDArray[np.float64]
FIRST, SAME, AGAIN, RECORDED, ITSELF = range(5)
BASES: tuple[Basis, ...] = ("first", "same rows", "scored again", "as recorded", "same rows")
ENCODER = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True)
class Comparison:
    """The comparison of a challenger with the champion; `champion_score` is None if there is none to compare with."""

    promoted: bool
    reason: str
    basis: Basis
    challenger_score: float
    champion_score: float | None = None


@dataclass(frozen=True)
class Comparisons:
    """The comparison of each challenger: its score, the champion's (NaN: none), and the rows of both."""

    policy: Policy
    challenger_m: Floats
    champion_m: Floats
    basis_m: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.challenger_m)

    def __getitem__(self, place: int, /) -> Comparison:
        score, champion = float(self.challenger_m[place]), float(self.champion_m[place])
        promoted, basis = bool(self.promoted_m[place]), BASES[self.basis_m[place]]
        return Comparison(promoted, self._reason(place), basis, score, None if np.isnan(champion) else champion)

    @cached_property
    def gain_m(self) -> Floats:
        """How much better each challenger is, in the metric's units; NaN if there is no score to compare with."""
        return (
            (self.champion_m - self.challenger_m) if self.policy.mode == "min" else self.challenger_m - self.champion_m
        )

    @cached_property
    def promoted_m(self) -> NDArray[np.bool_]:
        """Which challengers are promoted: if they are better by more than `min_improvement`, or always.

        A challenger that is the champion already is not promoted.
        """
        better_m = np.isnan(self.champion_m) | (self.gain_m > self.policy.min_improvement)
        promoted_m: NDArray[np.bool_] = (better_m | (self.policy.promote == "always")) & (self.basis_m != ITSELF)
        return promoted_m

    def _reason(self, place: int) -> str:
        if self.basis_m[place] == ITSELF:
            return "it is the champion already"
        if np.isnan(self.champion_m[place]):
            first = self.basis_m[place] == FIRST
            return "there was no champion" if first else "the champion has no score by this metric"
        if self.policy.promote == "always":
            return "promote: always"
        gain = self.gain_m[place]
        if self.promoted_m[place]:
            return f"better by {gain:.6g}"
        return f"not better by more than {self.policy.min_improvement:g} (by {gain:.6g})"

    def json(self) -> pa.Array:
        """Return the comparison of each promoted challenger as JSON; null for the others."""
        texts = [self._json(place) if promoted else None for place, promoted in enumerate(self.promoted_m.tolist())]
        return pa.array(texts, pa.string())

    def _json(self, place: int) -> str:
        comparison = self[place]
        if comparison.basis != "first":
            return ENCODER.encode(vars(comparison))
        # A new collection may have a million of these; json takes ten times as long to write the same.
        first, _, rest = FIRST_JSON.partition("0.0")
        return f"{first}{comparison.challenger_score!r}{rest}"


FIRST_JSON = ENCODER.encode(vars(Comparison(True, "there was no champion", "first", 0.0)))


def recorded_loss(champion: Mapping[str, Any]) -> str | None:
    """Return the loss of a champion; None if its row is older than the column, and its engine trains by several."""
    loss: str | None = champion["loss"]
    return "mse" if loss is None and champion["engine"] == "closed_form" else loss


def mean_loss(dataset: Dataset, weight_p: Tensor, loss: Loss, *, validate: bool) -> float:
    """Return the mean of a loss over the rows of a dataset that train, or that validate."""
    x_nd, y_n = _rows(dataset, validate=validate)
    d = x_nd.shape[1]
    residual_n = x_nd @ weight_p[:d] - y_n
    if dataset.card.bias:
        residual_n += weight_p[d]
    return loss.total(residual_n[:, None]).item() / len(y_n)


def _rows(dataset: Dataset, *, validate: bool) -> tuple[Tensor, Tensor]:
    """Return the rows that validate, or those that train: with folds, or without validation, all of them."""
    x_nd, y_n = torch.tensor(dataset.x_nd, dtype=torch.float64), torch.tensor(dataset.y_n, dtype=torch.float64)
    if dataset.fold_n is None or (dataset.fold_n != TRAINS).all():
        return x_nd, y_n
    wanted_n = torch.from_numpy((dataset.fold_n != TRAINS) == validate)
    return x_nd[wanted_n], y_n[wanted_n]
