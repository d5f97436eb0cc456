"""The losses: what is summed over rows, and its derivative by the prediction.

Each is a class in `LOSSES`, whose fields are the hyperparameters that it reads.
Shapes: n rows · b rows of a batch · g grid points. The residual is prediction minus target; every loss is a mean over
rows.
Source: torch.nn.MSELoss, HuberLoss, L1Loss; Koenker & Bassett, Regression Quantiles (1978), for the pinball loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from jobs.engines.hyperparameters import reads


class Loss(Protocol):
    """A loss with its parameter for each grid point; `derivative_scale` is left out of the derivative, for speed.

    In a unit of half the size, the loss is 2^`degree` times the number. `torch_loss` makes torch's module of it from a
    parameter of the same name.
    """

    derivative_scale: ClassVar[float] = 1.0
    degree: ClassVar[int] = 1
    torch_loss: ClassVar[Callable[..., nn.Module]]

    def derivative(self, residual_bg: Tensor) -> Tensor:
        """Return d loss / d prediction over `derivative_scale`; it may be the residual itself."""

    def total(self, residual_bg: Tensor, dim: int = 0) -> Tensor:
        """Return the sum of the loss over the rows, (g,), in the precision of the residual; rows are the axis `dim`."""

    def of_rows(self, factor_b1: Tensor) -> Loss:
        """Return the loss of rows that were multiplied by factors; see `row_factors`."""
        return self

    def take(self, index_g: Tensor) -> Self:
        """Return the loss of the grid points at `index_g`."""
        kind: Callable[..., Self] = type(self)
        return kind(**{name: parameter_g[index_g] for name, parameter_g in vars(self).items()})


@dataclass(frozen=True)
class SquaredError(Loss):
    derivative_scale = 2.0
    degree = 2
    torch_loss = nn.MSELoss

    def derivative(self, residual_bg: Tensor) -> Tensor:
        return residual_bg

    def total(self, residual_bg: Tensor, dim: int = 0) -> Tensor:
        return residual_bg.square().sum(dim)


@dataclass(frozen=True)
class Huber(Loss):
    huber_delta_g: Tensor
    degree = 2

    @staticmethod
    def torch_loss(huber_delta: float) -> nn.Module:
        return nn.HuberLoss(delta=huber_delta)

    def of_rows(self, factor_b1: Tensor) -> Loss:
        return Huber(self.huber_delta_g * factor_b1)

    def derivative(self, residual_bg: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(residual_bg, -self.huber_delta_g), self.huber_delta_g)

    def total(self, residual_bg: Tensor, dim: int = 0) -> Tensor:
        size_bg = residual_bg.abs()
        near_bg = 0.5 * residual_bg.square()
        far_bg = self.huber_delta_g * (size_bg - 0.5 * self.huber_delta_g)
        return torch.where(size_bg <= self.huber_delta_g, near_bg, far_bg).sum(dim)


@dataclass(frozen=True)
class AbsoluteError(Loss):
    torch_loss = nn.L1Loss

    def derivative(self, residual_bg: Tensor) -> Tensor:
        return residual_bg.sign()

    def total(self, residual_bg: Tensor, dim: int = 0) -> Tensor:
        return residual_bg.abs().sum(dim)


class TorchPinball(nn.Module):
    """The quantile loss as a module, which torch.nn lacks."""

    def __init__(self, quantile: float) -> None:
        super().__init__()
        self.quantile = quantile

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        above = target - prediction
        return torch.maximum(self.quantile * above, (self.quantile - 1) * above).mean()


@dataclass(frozen=True)
class Pinball(Loss):
    quantile_g: Tensor
    torch_loss = TorchPinball

    def derivative(self, residual_bg: Tensor) -> Tensor:
        slope_bg = torch.where(residual_bg > 0, 1 - self.quantile_g, -self.quantile_g)
        return torch.where(residual_bg == 0, 0.5 - self.quantile_g, slope_bg)

    def total(self, residual_bg: Tensor, dim: int = 0) -> Tensor:
        return torch.maximum((1 - self.quantile_g) * residual_bg, -self.quantile_g * residual_bg).sum(dim)


LOSSES: dict[str, type[Loss]] = {"mse": SquaredError, "huber": Huber, "mae": AbsoluteError, "quantile": Pinball}


def row_factors(weight_n: Tensor, mean_weight: Tensor, loss: str) -> Tensor:
    """Return what rows z = [x 1 y] are multiplied by, for the loss of each to have its weight relative to a mean.

    A squared error of a row times √w is w times that of the row; an absolute error is, of a row times w.
    """
    factor_n: Tensor = (weight_n / mean_weight) ** (1 / LOSSES[loss].degree)
    return factor_n


def loss_text(loss: str, values: Mapping[str, float | bool]) -> str:
    """Return what the champion table says of a loss: its name, with its parameter where it has one."""
    parameters = ", ".join(repr(values[name]) for name in reads(LOSSES[loss]))
    return f"{loss}({parameters})" if parameters else loss
