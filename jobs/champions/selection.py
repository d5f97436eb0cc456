"""Which trial of a dataset is best, and whether it takes the champion's place. Pure: values in, values out.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jobs.recipe import Mode

Basis = Literal["first", "same rows", "scored again", "as recorded"]


@dataclass(frozen=True)
class Comparison:
    """How a challenger stood against the champion, and what they were compared on."""

    promoted: bool
    reason: str
    basis: Basis
    challenger_score: float
    champion_score: float | None = None


def best_trials(score_mg: Tensor, learning_rate_mg: Tensor, mode: Mode) -> Tensor:
    """Return the place of the best finite score of each dataset, int64 (m,); -1 where no score is finite.

    Ties go to the smaller learning rate, then to the earlier grid point.
    """
    cost_mg = (score_mg if mode == "min" else -score_mg).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
    tied_mg = cost_mg.isfinite() & (cost_mg == cost_mg.amin(1, keepdim=True))
    rate_mg = torch.where(tied_mg, learning_rate_mg, torch.inf)
    return torch.where(tied_mg.any(1), rate_mg.argmin(1), -1)


def compare(
    challenger_score: float,
    champion_score: float | None,
    *,
    basis: Basis,
    mode: Mode,
    promote: Literal["better", "always"],
    min_improvement: float,
) -> Comparison:
    """Return whether a challenger is promoted: it must be better by more than `min_improvement`, in the metric's units.

    `champion_score` is None where there is no champion, or where it has no score by the same metric. An equal
    challenger does not take the champion's place.
    """
    if champion_score is None or math.isnan(champion_score):
        reason = "there was no champion" if basis == "first" else "the champion has no score by this metric"
        return Comparison(True, reason, basis, challenger_score)
    gain = champion_score - challenger_score if mode == "min" else challenger_score - champion_score
    if promote == "always":
        return Comparison(True, "promote: always", basis, challenger_score, champion_score)
    if gain > min_improvement:
        return Comparison(True, f"better by {gain:.6g}", basis, challenger_score, champion_score)
    reason = f"not better by more than {min_improvement:g} (by {gain:.6g})"
    return Comparison(False, reason, basis, challenger_score, champion_score)
