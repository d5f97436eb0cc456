"""Save an unfinished fit, and continue it: the result has the same bits as that of an uninterrupted fit.

The state is the epoch, the weights, the state of the optimizer and the record. The order of the rows in an epoch
follows from the seed and the epoch alone.

Shapes: p weights · g grid points.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.minibatch.evaluation import Evaluator
from jobs.engines.minibatch.tracking import Tracker
from jobs.engines.optimizers import RowwiseOptimizer

State = dict[str, Tensor]


class Checkpoints(Protocol):
    """The training checkpoints of the fits of a dataset, by the name of the fit."""

    def load(self, name: str) -> State | None:
        """Return the last saved state of a fit, or None."""

    def due(self) -> bool:
        """Return whether it is time to save."""

    def save(self, name: str, state: State, *, send: bool = True) -> None:
        """Save a state; without `send` it is sent with the next state."""

    def passed(self, name: str, epoch: int, epochs: int, num_rows: int) -> None:
        """Tell that an epoch of a fit, over so many rows, has ended; it costs little."""


class Trials(Protocol):
    """The trials of a fit that are still in training: `live_g` are their places among all."""

    live_g: Tensor
    optimizer: RowwiseOptimizer

    @property
    def weight_pg(self) -> Tensor: ...

    def score(self, evaluator: Evaluator) -> Tensor:
        """Return the loss of each, (g,) float64."""

    def take(self, keep_g: Tensor) -> None:
        """Continue with the trials at `keep_g`."""


def state_of(stack: Trials, tracker: Tracker, epoch: int, evaluation: int) -> State:
    """Return what a continued fit needs, after `epoch` epochs and `evaluation` evaluations; nothing is shared."""
    record = {f"tracker.{name}": getattr(tracker, name) for name in _columns(tracker)}
    optimizer = {f"optimizer.{name}": tensor for name, tensor in stack.optimizer.state().items()}
    counts = {"epoch": torch.tensor(epoch), "evaluation": torch.tensor(evaluation)}
    state = {"live_g": stack.live_g, "weight_pg": stack.weight_pg, **counts, **record, **optimizer}
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def restore(state: State, stack: Trials, tracker: Tracker) -> tuple[int, int]:
    """Bring a fit that was just started to a saved state; return the epochs and the evaluations done."""
    device = stack.weight_pg.device
    stack.take(state["live_g"])
    stack.weight_pg.copy_(state["weight_pg"])
    optimizer = {name: tensor.clone() for name, tensor in state.items() if name.startswith("optimizer.")}
    stack.optimizer.load_state({name.partition(".")[2]: tensor.to(device) for name, tensor in optimizer.items()})
    for name in _columns(tracker):
        setattr(tracker, name, state[f"tracker.{name}"].clone())
    return int(state["epoch"]), int(state["evaluation"])


def _columns(tracker: Tracker) -> list[str]:
    """Return the names of what the tracker records; `wanted_index_g` is given, and not recorded."""
    names = [field.name for field in fields(tracker) if field.name != "wanted_index_g"]
    return [name for name in names if isinstance(getattr(tracker, name), Tensor)]
