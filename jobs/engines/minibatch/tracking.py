"""The record of a fit: curves, the best weights so far, divergence, early stopping; all for each grid point.

Shapes: g grid points · l live grid points · e evaluated epochs · p weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.curves import ROUNDING
from jobs.engines.settings import EarlyStopping, TrainingSettings


@dataclass
class Tracker:
    """The record of each grid point while the stack trains."""

    weight_pg: Tensor
    last_weight_pg: Tensor
    kept_index_g: Tensor
    best_g: Tensor
    diverged_at_g: Tensor
    stopped_g: Tensor
    stale_g: Tensor
    anchor_g: Tensor
    train_curve_ge: Tensor
    val_curve_ge: Tensor
    val_mse_curve_ge: Tensor
    keep_last: bool
    early_stopping: EarlyStopping | None
    wanted_index_g: Tensor | None

    @classmethod
    def start(cls, g: int, e: int, p: int, settings: TrainingSettings, wanted_index_g: Tensor | None) -> Tracker:
        """Return an empty record."""
        return cls(
            weight_pg=torch.full((p, g), torch.nan, dtype=torch.float64),
            last_weight_pg=torch.full((p, g), torch.nan, dtype=torch.float64),
            kept_index_g=torch.zeros(g, dtype=torch.int64),
            best_g=torch.full((g,), torch.inf, dtype=torch.float64),
            diverged_at_g=torch.zeros(g, dtype=torch.int64),
            stopped_g=torch.zeros(g, dtype=torch.bool),
            stale_g=torch.zeros(g, dtype=torch.int64),
            anchor_g=torch.full((g,), torch.inf, dtype=torch.float64),
            train_curve_ge=torch.full((g, e), torch.nan, dtype=torch.float64),
            val_curve_ge=torch.full((g, e), torch.nan, dtype=torch.float64),
            val_mse_curve_ge=torch.full((g, e), torch.nan, dtype=torch.float64),
            keep_last=settings.keep == "last",
            early_stopping=settings.early_stopping if wanted_index_g is None else None,
            wanted_index_g=wanted_index_g,
        )

    def diverged(self, places_l: Tensor, epoch: int) -> None:
        """Note that the loss of these grid points is not finite in this epoch."""
        self.diverged_at_g[places_l] = epoch
        self.weight_pg[:, places_l] = torch.nan

    def record(
        self,
        evaluation: int,
        live_l: Tensor,
        weight_pl: Tensor,
        train_l: Tensor,
        val_l: Tensor | None,
        val_mse_l: Tensor | None,
    ) -> Tensor:
        """Note an evaluation of the live grid points; return which of them go on, (l,) bool."""
        self.train_curve_ge[live_l, evaluation] = train_l
        if val_l is not None:
            self.val_curve_ge[live_l, evaluation] = val_l
        if val_mse_l is not None:
            self.val_mse_curve_ge[live_l, evaluation] = val_mse_l
        score_l = train_l if val_l is None else val_l
        best_l = self.best_g[live_l]
        if self.wanted_index_g is not None:
            better_l = self.wanted_index_g[live_l] == evaluation
        elif self.keep_last:
            better_l = torch.ones_like(score_l, dtype=torch.bool)
        else:
            better_l = score_l <= best_l * (1 + ROUNDING)
        self.best_g[live_l] = torch.minimum(best_l, score_l.nan_to_num(nan=torch.inf))
        places_l = live_l[better_l]
        weight_pl = weight_pl.double().cpu()
        self.last_weight_pg[:, live_l] = weight_pl
        self.weight_pg[:, places_l] = weight_pl[:, better_l]
        self.kept_index_g[places_l] = evaluation
        return self._going(live_l, score_l)

    def _going(self, live_l: Tensor, score_l: Tensor) -> Tensor:
        if self.early_stopping is None:
            return torch.ones_like(live_l, dtype=torch.bool)
        improved_l = score_l < self.anchor_g[live_l] * (1 - self.early_stopping.tolerance)
        self.anchor_g[live_l] = torch.where(improved_l, score_l, self.anchor_g[live_l])
        self.stale_g[live_l] = torch.where(improved_l, 0, self.stale_g[live_l] + 1)
        going_l = self.stale_g[live_l] < self.early_stopping.patience
        self.stopped_g[live_l[~going_l]] = True
        return going_l
