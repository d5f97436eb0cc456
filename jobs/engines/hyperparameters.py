"""The hyperparameters of each trial, as columns, so that a million datasets fit.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of each trial, float64: a row of the grid has its own value of each.

    `learning_rate_mg` may differ between datasets (an automatic grid does); the others are of shape (g,).
    Names and meaning are those of torch.optim.SGD, Adam and AdamW, and of torch.nn's losses.
    """

    learning_rate_mg: Tensor
    momentum_g: Tensor
    nesterov_g: Tensor
    weight_decay_g: Tensor
    huber_delta_g: Tensor
    quantile_g: Tensor

    @property
    def num_points(self) -> int:
        return self.learning_rate_mg.shape[1]

    def take(self, index_g: Tensor) -> Hyperparameters:
        """Return the grid points at `index_g`, in that order."""
        return Hyperparameters(
            **{field.name: getattr(self, field.name)[..., index_g] for field in fields(self)},
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> Hyperparameters:
        """Return the same on a device, in the precision of training."""
        values = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return Hyperparameters(**{name: v if v.dtype == torch.bool else v.to(dtype) for name, v in values.items()})

    def for_datasets(self, num_datasets: int) -> Hyperparameters:
        """Return the grid of one dataset for several."""
        return replace(self, learning_rate_mg=self.learning_rate_mg.expand(num_datasets, -1))

    def datasets(self, start: int, stop: int) -> Hyperparameters:
        """Return the same grid for the datasets from `start` to `stop`."""
        return replace(self, learning_rate_mg=self.learning_rate_mg[start:stop])
