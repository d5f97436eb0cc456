"""The losses: what is summed over rows, and its derivative by the prediction.

Shapes: b rows of a batch · g grid points. The residual is prediction minus target; every loss is a mean over rows.
Source: torch.nn.MSELoss, HuberLoss, L1Loss; Koenker & Bassett, Regression Quantiles (1978), for the pinball loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.settings import LossName


@dataclass(frozen=True)
class Loss:
    """A loss with its parameter for each grid point; `derivative_scale` is left out of the derivative, for speed."""

    name: LossName
    huber_delta_g: Tensor
    quantile_g: Tensor

    @property
    def derivative_scale(self) -> float:
        """The constant that `derivative` leaves to the caller."""
        return 2.0 if self.name == "mse" else 1.0

    def derivative(self, residual_bg: Tensor) -> Tensor:
        """Return d loss / d prediction over `derivative_scale`; it may be the residual itself."""
        if self.name == "mse":
            return residual_bg
        if self.name == "huber":
            return torch.minimum(torch.maximum(residual_bg, -self.huber_delta_g), self.huber_delta_g)
        if self.name == "mae":
            return residual_bg.sign()
        above_bg = residual_bg > 0
        slope_bg = torch.where(above_bg, 1 - self.quantile_g, -self.quantile_g)
        return torch.where(residual_bg == 0, 0.5 - self.quantile_g, slope_bg)

    def total(self, residual_bg: Tensor) -> Tensor:
        """Return the sum of the loss over the rows, (g,), in the precision of the residual."""
        if self.name == "mse":
            return residual_bg.square().sum(0)
        size_bg = residual_bg.abs()
        if self.name == "huber":
            near_bg = 0.5 * residual_bg.square()
            far_bg = self.huber_delta_g * (size_bg - 0.5 * self.huber_delta_g)
            return torch.where(size_bg <= self.huber_delta_g, near_bg, far_bg).sum(0)
        if self.name == "mae":
            return size_bg.sum(0)
        return torch.maximum((1 - self.quantile_g) * residual_bg, -self.quantile_g * residual_bg).sum(0)

    def take(self, index_g: Tensor) -> Loss:
        """Return the loss of the grid points at `index_g`."""
        return Loss(self.name, self.huber_delta_g[index_g], self.quantile_g[index_g])
