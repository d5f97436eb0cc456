"""How challengers stand against champions: by one metric, on the same rows where they can be had.

`train_loss` and `val_loss` are a metric for each loss, and for each delta or quantile of it: a Huber loss says nothing
of a mean absolute error. The champion's row records which it was.

Shapes: m challengers · n rows · d encoded columns · p weights (d, and the bias last where there is one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.champions.selection import Basis, Comparison, compare
from jobs.engines.losses import Loss
from jobs.recipe import Policy
from jobs.sources.dataset import Dataset
from jobs.sources.validation_split import TRAINS

OF_THE_LOSS = ("train_loss", "val_loss")
Floats = NDArray[np.float64]
FIRST, SAME, AGAIN, RECORDED, ITSELF = range(5)
BASES: tuple[Basis, ...] = ("first", "same rows", "scored again", "as recorded", "same rows")
ENCODER = json.JSONEncoder(sort_keys=True)
FIRST_JSON = ENCODER.encode(vars(Comparison(True, "there was no champion", "first", 0.0)))


@dataclass(frozen=True)
class Comparisons:
    """How each challenger stood: its score, the champion's (NaN: there is none), and on what they were compared."""

    policy: Policy
    challenger_m: Floats
    champion_m: Floats
    basis_m: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.challenger_m)

    def __getitem__(self, place: int, /) -> Comparison:
        score, champion = float(self.challenger_m[place]), float(self.champion_m[place])
        basis = int(self.basis_m[place])
        if basis == ITSELF:
            return Comparison(False, "it is the champion already", BASES[basis], score, champion)
        return compare(
            score,
            None if np.isnan(champion) else champion,
            basis=BASES[basis],
            mode=self.policy.mode,
            promote=self.policy.promote,
            min_improvement=self.policy.min_improvement,
        )

    def promoted(self) -> NDArray[np.bool_]:
        """Return which challengers are promoted; the rule is that of `compare`."""
        sign = 1.0 if self.policy.mode == "min" else -1.0
        gain_m = sign * (self.champion_m - self.challenger_m)
        better_m = np.isnan(self.champion_m) | (gain_m > self.policy.min_improvement)
        promoted_m: NDArray[np.bool_] = (better_m | (self.policy.promote == "always")) & (self.basis_m != ITSELF)
        return promoted_m

    def json(self) -> pa.Array:
        """Return what the promoted rows say of the comparison; null for the others."""
        texts = [self._json(place) if promoted else None for place, promoted in enumerate(self.promoted().tolist())]
        return pa.array(texts, pa.string())

    def _json(self, place: int) -> str:
        comparison = self[place]
        if comparison.basis != "first":
            return ENCODER.encode(vars(comparison))
        # A new collection may have a million of these; json takes ten times as long to write the same.
        first, _, rest = FIRST_JSON.partition("0.0")
        return f"{first}{comparison.challenger_score!r}{rest}"


def recorded_loss(champion: Mapping[str, Any]) -> str | None:
    """Return the loss of a champion; None where its row is older than the column and the engine does not tell."""
    if champion["loss"] is None and champion["engine"] == "closed_form":
        return "mse"
    loss: str | None = champion["loss"]
    return loss


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
