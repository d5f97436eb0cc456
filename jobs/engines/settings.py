"""How a block is trained, in plain values: the part of a configuration that engines read.

Shapes: e evaluated epochs · p weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, assert_never

import torch
from torch import Tensor, nn

from jobs.engines.hyperparameters import Hyperparameters, arguments, reads
from jobs.engines.losses import LOSSES, Loss
from jobs.engines.optimizers import OPTIMIZERS, RowwiseOptimizer

if TYPE_CHECKING:
    OptimizerName: TypeAlias = str
    LossName: TypeAlias = str
else:  # what pydantic checks, and what the JSON Schema shows
    OptimizerName, LossName = Literal[tuple(OPTIMIZERS)], Literal[tuple(LOSSES)]

T = TypeVar("T")
MAX_EPOCHS = 10**9
REGISTRIES: Mapping[str, Mapping[str, type[Any]]] = {"optimizer": OPTIMIZERS, "loss": LOSSES}


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

    def at(self, epoch: int, epochs: int) -> float:
        """Return the factor at `epoch` (from 0) of `epochs`."""
        match self.kind:
            case "constant":
                return 1.0
            case "step":
                return float(self.factor ** (epoch // self.every))
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
            case "inverse_time":
                return 1 / (1 + self.decay * epoch)
        assert_never(self.kind)


@dataclass(frozen=True)
class TrainingSettings:
    """What every trial of a block shares. `batch_size` is None for the full batch.

    With `automatic_epochs` a trial in closed form ends where it stands still, after `epochs` at the latest.
    `normalize` scales features and target while training, or the features alone.
    """

    epochs: int
    automatic_epochs: bool = False
    num_evaluations: int = 64
    batch_size: int | None = None
    optimizer: OptimizerName = "sgd"
    loss: LossName = "mse"
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = 0.99
    eps: float = 1e-8
    normalize: bool | Literal["features"] = False
    bias: bool = True
    seed: int = 0
    keep: Literal["best", "last"] = "best"
    schedule: Schedule = Schedule()
    early_stopping: EarlyStopping | None = None
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        for key, registry in REGISTRIES.items():
            if (name := getattr(self, key)) not in registry:
                raise ValueError(f"{key} {name!r} is unknown: write one of {', '.join(registry)}")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision in which the minibatch engine trains."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    def is_gradient_descent(self, num_rows: float) -> bool:
        """Return whether this is full-batch gradient descent on squared error, of which the closed form is known."""
        full = self.batch_size is None or self.batch_size >= num_rows
        constant = self.schedule.kind == "constant"
        return full and constant and OPTIMIZERS[self.optimizer].has_closed_form and self.loss == "mse"

    def reads(self, name: str) -> bool:
        """Return whether a hyperparameter or a setting has a meaning under this optimizer and this loss."""
        return not owners_lacking(name, self.optimizer, self.loss)

    def relevant(self) -> dict[str, Any]:
        """Return all that a result depends on: not what another optimizer reads."""
        return {name: value for name, value in asdict(self).items() if self.reads(name)}

    def new_optimizer(self, hyperparameters: Hyperparameters) -> RowwiseOptimizer:
        """Return the optimizer before its first step, with each grid point's own hyperparameters."""
        return self._made(OPTIMIZERS[self.optimizer], hyperparameters)

    def new_loss(self, hyperparameters: Hyperparameters) -> Loss:
        """Return the loss with each grid point's own parameter."""
        return self._made(LOSSES[self.loss], hyperparameters)

    def _made(self, kind: Callable[..., T], hyperparameters: Hyperparameters) -> T:
        columns = hyperparameters.columns()
        return kind(**{name: columns[name] if name in columns else getattr(self, name) for name in arguments(kind)})


@cache
def owners_lacking(name: str, optimizer: str, loss: str) -> list[str]:
    """Return what gives a hyperparameter or setting a meaning, as YAML; nothing if this optimizer or loss does."""
    chosen = {"optimizer": optimizer, "loss": loss}
    owners = [(key, each) for key, known in REGISTRIES.items() for each, kind in known.items() if name in reads(kind)]
    return [] if any(chosen[key] == each for key, each in owners) else [f"'{key}: {each}'" for key, each in owners]


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
