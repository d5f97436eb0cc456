"""The result of an engine for the trials of a block: columns, so that a million datasets fit into memory.

Shapes: m datasets · g grid points · e evaluated epochs · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

EngineName = Literal["closed_form", "minibatch"]
Status = Literal["converged", "not_converged", "diverged"]


@dataclass(frozen=True)
class BlockResult:
    """The trials of a block.

    `weight_mgp` are the weights of the chosen epoch, in raw units, float64; NaN if the trial diverged. `epoch_mg` is
    the chosen epoch. `gap_mg` is the distance of predictions from the limit of training, divided by the target's
    standard deviation: at the chosen epoch, or at the last if some rows validate; NaN if the limit is not known.
    `diverged_at_mg` is the first epoch (from 1) whose training loss, summed by a float32 loop, is not
    finite; 0 if there is none. `train_mse_mg`, `val_mse_mg`, `train_loss_mg`, `val_loss_mg` and `r2_mg` belong to the
    chosen epoch; NaN if undefined. The curves have the loss after each of `epochs_e`.
    """

    engine: EngineName
    epochs_e: Tensor
    weight_mgp: Tensor
    epoch_mg: Tensor
    converged_mg: Tensor
    gap_mg: Tensor
    diverged_at_mg: Tensor
    train_mse_mg: Tensor
    val_mse_mg: Tensor
    train_loss_mg: Tensor
    val_loss_mg: Tensor
    r2_mg: Tensor
    train_curve_mge: Tensor
    val_curve_mge: Tensor
    wall_s: float

    def last_epoch_only(self) -> BlockResult:
        """Return the same trials with only the last epoch of each curve."""
        return replace(
            self,
            epochs_e=self.epochs_e[-1:],
            train_curve_mge=self.train_curve_mge[:, :, -1:],
            val_curve_mge=self.val_curve_mge[:, :, -1:],
        )

    def status(self, dataset: int, point: int) -> Status:
        """Return the status of one trial."""
        if self.diverged_at_mg[dataset, point] > 0:
            return "diverged"
        return "converged" if self.converged_mg[dataset, point] else "not_converged"

    def metric(self, name: str) -> Tensor:
        """Return a metric by its name (`train_mse`, `val_mse`, `train_loss`, `val_loss`, `r2`), of shape (m, g)."""
        values: Tensor = getattr(self, f"{name}_mg")
        return torch.where(self.diverged_at_mg > 0, torch.nan, values)
