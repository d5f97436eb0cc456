"""torch.optim's SGD, Adam and AdamW with hyperparameters for each row of a stack.

A stack of g models is trained as one weight matrix; each model has its own learning rate, momentum and weight decay.
The arithmetic and its order are those of torch.optim, which the tests hold them to.
Shapes: p weights · g grid points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.settings import TrainingSettings


class RowwiseOptimizer(Protocol):
    """Changes weights in place by their gradient."""

    def step(self, weight_pg: Tensor, gradient_pg: Tensor, learning_rate_g: Tensor) -> None:
        """Take one step; the gradient may be overwritten."""

    def take(self, index_g: Tensor) -> None:
        """Keep the state of the grid points at `index_g` alone."""

    def state(self) -> dict[str, Tensor]:
        """Return what a continued training needs, by name."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""


@dataclass
class Sgd:
    """Source: torch.optim.SGD (dampening 0)."""

    momentum_g: Tensor
    nesterov_g: Tensor
    weight_decay_g: Tensor
    velocity_pg: Tensor | None = None

    def __post_init__(self) -> None:
        self._has_momentum = bool((self.momentum_g > 0).any())
        self._has_nesterov = bool(self.nesterov_g.any())
        self._has_decay = bool((self.weight_decay_g > 0).any())

    def step(self, weight_pg: Tensor, gradient_pg: Tensor, learning_rate_g: Tensor) -> None:
        if self._has_decay:
            gradient_pg = gradient_pg.addcmul_(weight_pg, self.weight_decay_g)
        if self._has_momentum:
            if self.velocity_pg is None:
                self.velocity_pg = torch.zeros_like(weight_pg)
            self.velocity_pg.mul_(self.momentum_g).add_(gradient_pg)
            if self._has_nesterov:
                ahead_pg = torch.addcmul(gradient_pg, self.velocity_pg, self.momentum_g)
                gradient_pg = torch.where(self.nesterov_g, ahead_pg, self.velocity_pg)
            else:
                gradient_pg = self.velocity_pg
        weight_pg.addcmul_(gradient_pg, learning_rate_g, value=-1)

    def take(self, index_g: Tensor) -> None:
        self.momentum_g, self.nesterov_g = self.momentum_g[index_g], self.nesterov_g[index_g]
        self.weight_decay_g = self.weight_decay_g[index_g]
        if self.velocity_pg is not None:
            self.velocity_pg = self.velocity_pg[:, index_g].contiguous()

    def state(self) -> dict[str, Tensor]:
        return {} if self.velocity_pg is None else {"velocity_pg": self.velocity_pg}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.velocity_pg = state.get("velocity_pg")


@dataclass
class Adam:
    """Source: Kingma & Ba (2015), as torch.optim.Adam; `decoupled` is torch.optim.AdamW, Loshchilov & Hutter (2019)."""

    weight_decay_g: Tensor
    betas: tuple[float, float]
    eps: float
    decoupled: bool
    mean_pg: Tensor | None = None
    square_pg: Tensor | None = None
    num_steps: int = 0

    def __post_init__(self) -> None:
        self._has_decay = bool((self.weight_decay_g > 0).any())

    def step(self, weight_pg: Tensor, gradient_pg: Tensor, learning_rate_g: Tensor) -> None:
        if self.mean_pg is None or self.square_pg is None:
            self.mean_pg, self.square_pg = torch.zeros_like(weight_pg), torch.zeros_like(weight_pg)
        if self._has_decay and self.decoupled:
            weight_pg.mul_(1 - learning_rate_g * self.weight_decay_g)
        elif self._has_decay:
            gradient_pg = gradient_pg.addcmul_(weight_pg, self.weight_decay_g)
        self.num_steps += 1
        beta1, beta2 = self.betas
        self.mean_pg.lerp_(gradient_pg, 1 - beta1)
        self.square_pg.mul_(beta2).addcmul_(gradient_pg, gradient_pg, value=1 - beta2)
        root = math.sqrt(1 - beta2**self.num_steps)
        denominator_pg = self.square_pg.sqrt().div_(root).add_(self.eps).reciprocal_().mul_(self.mean_pg)
        weight_pg.addcmul_(denominator_pg, learning_rate_g, value=-1 / (1 - beta1**self.num_steps))

    def take(self, index_g: Tensor) -> None:
        self.weight_decay_g = self.weight_decay_g[index_g]
        if self.mean_pg is not None and self.square_pg is not None:
            self.mean_pg = self.mean_pg[:, index_g].contiguous()
            self.square_pg = self.square_pg[:, index_g].contiguous()

    def state(self) -> dict[str, Tensor]:
        if self.mean_pg is None or self.square_pg is None:
            return {}
        return {"mean_pg": self.mean_pg, "square_pg": self.square_pg, "num_steps": torch.tensor(self.num_steps)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        if state:
            self.mean_pg, self.square_pg = state["mean_pg"], state["square_pg"]
            self.num_steps = int(state["num_steps"])


def rowwise_optimizer(settings: TrainingSettings, hyperparameters: Hyperparameters) -> RowwiseOptimizer:
    """Return the optimiser of the settings with each row's own hyperparameters."""
    decay_g = hyperparameters.weight_decay_g
    if settings.optimizer == "sgd":
        return Sgd(hyperparameters.momentum_g, hyperparameters.nesterov_g, decay_g)
    return Adam(decay_g, settings.betas, settings.eps, decoupled=settings.optimizer == "adamw")
