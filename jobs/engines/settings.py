"""How a block is trained, in plain values: the part of a configuration that engines read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

OptimizerName = Literal["sgd", "adam", "adamw"]
LossName = Literal["mse", "huber", "mae", "quantile"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop a trial after `patience` evaluations that improve its loss by no more than `tolerance` (relative)."""

    patience: int
    tolerance: float


@dataclass(frozen=True)
class Schedule:
    """The factor on the learning rate at each epoch (from 0), the same for every trial.

    constant: 1 · step: factor^⌊epoch / every⌋ · cosine: (1 + cos(π epoch / epochs)) / 2
    · inverse_time: 1 / (1 + decay · epoch).
    """

    kind: Literal["constant", "step", "cosine", "inverse_time"] = "constant"
    every: int = 1
    factor: float = 1.0
    decay: float = 0.0


@dataclass(frozen=True)
class TrainingSettings:
    """What every trial of a block shares. `batch_size` is None for the full batch."""

    epochs: int
    num_evaluations: int = 64
    batch_size: int | None = None
    optimizer: OptimizerName = "sgd"
    loss: LossName = "mse"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    normalize: bool = False
    bias: bool = True
    seed: int = 0
    keep: Literal["best", "last"] = "best"
    schedule: Schedule = Schedule()
    early_stopping: EarlyStopping | None = None
    dtype: Literal["float32", "float64"] = "float32"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision in which the minibatch engine trains."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    def is_gradient_descent(self, num_rows: float) -> bool:
        """Return whether this is full-batch gradient descent on squared error, of which the closed form is known."""
        full = self.batch_size is None or self.batch_size >= num_rows
        constant = self.schedule.kind == "constant"
        return full and constant and self.optimizer == "sgd" and self.loss == "mse"


def evaluated_epochs(epochs: int, num_evaluations: int) -> Tensor:
    """Return the epochs after which a model is evaluated: log-spaced from 1, the last always in; (e,) int64."""
    spaced_e = torch.logspace(0, math.log10(epochs), num_evaluations, dtype=torch.float64)
    rounded_e = spaced_e.round().long().clamp(1, epochs)
    return torch.tensor(sorted({*rounded_e.tolist(), epochs}))


def initial_weights(num_columns: int, bias: bool, seed: int) -> Tensor:
    """Return the weights of `torch.manual_seed(seed); nn.Linear(num_columns, 1, bias)`: float64 (p,), the bias last.

    The global random state is as before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = nn.Linear(num_columns, 1, bias=bias, dtype=torch.float32)
    parts = [linear.weight.detach()[0]] + ([linear.bias.detach()] if bias else [])
    return torch.cat(parts).double()
