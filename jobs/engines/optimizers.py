"""The optimizers of torch.optim with hyperparameters for each row of a stack.

A stack of g models is trained as one weight matrix; each model has its own learning rate, momentum and weight decay.
Each optimizer is a class in `OPTIMIZERS`: its fields without a default are the hyperparameters and settings that it
reads, by torch's names. The arithmetic and its order are those of torch.optim, which the tests hold them to.
Shapes: p weights · g grid points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor


class RowwiseOptimizer(Protocol):
    """Changes weights in place by their gradient.

    `state_names` are the fields that a continued training needs. `has_closed_form` says whether a step is along the
    gradient and of its length, so that the closed form and the stability limit are known; the others divide the
    gradient by its running size.
    """

    torch_optimizer: ClassVar[Callable[..., torch.optim.Optimizer]]
    state_names: ClassVar[tuple[str, ...]]
    has_closed_form: ClassVar[bool] = False
    in_use: frozenset[str]

    def __post_init__(self) -> None:
        """Note which hyperparameters are not zero at every grid point: the others take no time."""
        self.in_use = frozenset(name for name, value in vars(self).items() if isinstance(value, Tensor) and value.any())

    def step(self, weight_pg: Tensor, gradient_pg: Tensor, learning_rate_g: Tensor) -> None:
        """Take one step; the gradient may be overwritten."""

    def take(self, index_g: Tensor) -> None:
        """Keep the hyperparameters and the state of the grid points at `index_g` alone."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[..., index_g].contiguous())

    def state(self) -> dict[str, Tensor]:
        """Return what a continued training needs, by name; nothing before the first step."""
        values = {name: getattr(self, name) for name in self.state_names}
        return {name: torch.as_tensor(value) for name, value in values.items() if value is not None}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value if value.dim() else int(value))


@dataclass
class Sgd(RowwiseOptimizer):
    """Source: torch.optim.SGD (dampening 0)."""

    torch_optimizer = torch.optim.SGD
    state_names = ("velocity_pg",)
    has_closed_form = True

    momentum_g: Tensor
    weight_decay_g: Tensor
    nesterov_g: Tensor
    velocity_pg: Tensor | None = None

    def step(self, weight_pg: Tensor, gradient_pg: Tensor, learning_rate_g: Tensor) -> None:
        if "weight_decay_g" in self.in_use:
            gradient_pg = gradient_pg.addcmul_(weight_pg, self.weight_decay_g)
        if "momentum_g" in self.in_use:
            if self.velocity_pg is None:
                self.velocity_pg = torch.zeros_like(weight_pg)
            self.velocity_pg.mul_(self.momentum_g).add_(gradient_pg)
            if "nesterov_g" in self.in_use:
                ahead_pg = torch.addcmul(gradient_pg, self.velocity_pg, self.momentum_g)
                gradient_pg = torch.where(self.nesterov_g, ahead_pg, self.velocity_pg)
            else:
                gradient_pg = self.velocity_pg
        weight_pg.addcmul_(gradient_pg, learning_rate_g, value=-1)


@dataclass
class Adam(RowwiseOptimizer):
    """Source: Kingma & Ba (2015), as torch.optim.Adam; `decoupled` is torch.optim.AdamW, Loshchilov & Hutter (2019)."""

    torch_optimizer: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam
    state_names = ("mean_pg", "square_pg", "num_steps")
    decoupled: ClassVar[bool] = False

    weight_decay_g: Tensor
    betas: tuple[float, float]
    eps: float
    mean_pg: Tensor | None = None
    square_pg: Tensor | None = None
    num_steps: int = 0

    def step(self, weight_pg: Tensor, gradient_pg: Tensor, learning_rate_g: Tensor) -> None:
        if self.mean_pg is None or self.square_pg is None:
            self.mean_pg, self.square_pg = torch.zeros_like(weight_pg), torch.zeros_like(weight_pg)
        if "weight_decay_g" in self.in_use and self.decoupled:
            weight_pg.mul_(1 - learning_rate_g * self.weight_decay_g)
        elif "weight_decay_g" in self.in_use:
            gradient_pg = gradient_pg.addcmul_(weight_pg, self.weight_decay_g)
        self.num_steps += 1
        beta1, beta2 = self.betas
        self.mean_pg.lerp_(gradient_pg, 1 - beta1)
        self.square_pg.mul_(beta2).addcmul_(gradient_pg, gradient_pg, value=1 - beta2)
        root = math.sqrt(1 - beta2**self.num_steps)
        denominator_pg = self.square_pg.sqrt().div_(root).add_(self.eps).reciprocal_().mul_(self.mean_pg)
        weight_pg.addcmul_(denominator_pg, learning_rate_g, value=-1 / (1 - beta1**self.num_steps))


class AdamW(Adam):
    torch_optimizer = torch.optim.AdamW
    decoupled = True


@dataclass
class RmsProp(RowwiseOptimizer):
    """Source: Tieleman & Hinton (2012), as torch.optim.RMSprop (not centered)."""

    torch_optimizer = torch.optim.RMSprop
    state_names = ("square_pg", "velocity_pg")

    momentum_g: Tensor
    weight_decay_g: Tensor
    alpha: float
    eps: float
    square_pg: Tensor | None = None
    velocity_pg: Tensor | None = None

    def step(self, weight_pg: Tensor, gradient_pg: Tensor, learning_rate_g: Tensor) -> None:
        if self.square_pg is None:
            self.square_pg = torch.zeros_like(weight_pg)
            self.velocity_pg = torch.zeros_like(weight_pg) if "momentum_g" in self.in_use else None
        if "weight_decay_g" in self.in_use:
            gradient_pg = gradient_pg.addcmul_(weight_pg, self.weight_decay_g)
        self.square_pg.mul_(self.alpha).addcmul_(gradient_pg, gradient_pg, value=1 - self.alpha)
        direction_pg = self.square_pg.sqrt().add_(self.eps).reciprocal_().mul_(gradient_pg)
        if self.velocity_pg is not None:
            direction_pg = self.velocity_pg.mul_(self.momentum_g).add_(direction_pg)
        weight_pg.addcmul_(direction_pg, learning_rate_g, value=-1)


OPTIMIZERS: dict[str, type[RowwiseOptimizer]] = {"sgd": Sgd, "adam": Adam, "adamw": AdamW, "rmsprop": RmsProp}
