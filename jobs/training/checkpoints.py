"""Long fits on their way: a dataset's checkpoints as bytes, named by the keys of its trials, and the task that saves.

Shapes: as in `engines.minibatch.checkpointing`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load, save

from jobs.cluster.checkpoint_stream import Saves
from jobs.engines.minibatch.checkpointing import State
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.recipe import Recipe
from jobs.sources.dataset import Dataset
from jobs.training.datasets import TrainedDatasets, train_dataset

logger = logging.getLogger(__name__)


def train_block_saving(
    datasets: Sequence[Dataset],
    recipe: Recipe,
    names: Sequence[str],
    every_s: float,
    saves: Saves,
    ranks: Ranks = SINGLE_PROCESS,
) -> tuple[TrainedDatasets, ...]:
    """Return the datasets of a block trained, each saved under its name every so many seconds."""
    return tuple(
        train_dataset(dataset, recipe, DatasetCheckpoints(name, every_s, saves), ranks)
        for dataset, name in zip(datasets, names, strict=True)
    )


class DatasetCheckpoints:
    """The checkpoints of the fits of one dataset (one for each fold, and that of all rows), saved together."""

    def __init__(self, name: str, every_s: float, saves: Saves) -> None:
        self.every_s = every_s
        self.saves = saves
        self.states = _parse(name, saves.get(name))
        self._name = name

    def part(self, name: str) -> PartCheckpoint:
        """Return where the fit of that name is saved."""
        return PartCheckpoint(self, name)

    def send(self) -> None:
        """Send the states of all fits."""
        tensors = {f"{part}/{name}": tensor for part, state in self.states.items() for name, tensor in state.items()}
        self.saves.put(self._name, save(tensors))


@dataclass(frozen=True)
class PartCheckpoint:
    """The checkpoint of one fit."""

    dataset: DatasetCheckpoints
    name: str

    def load(self) -> State | None:
        return self.dataset.states.get(self.name)

    def due(self) -> bool:
        return self.dataset.saves.age_s() >= self.dataset.every_s

    def save(self, state: State, *, send: bool = True) -> None:
        self.dataset.states[self.name] = state
        if send:
            self.dataset.send()


def _parse(name: str, data: bytes | None) -> dict[str, State]:
    states: dict[str, State] = {}
    try:
        tensors = load(data) if data else {}
    except SafetensorError as exc:
        logger.warning("checkpoint %s is not used: %s", name, exc)
        return states
    for path, tensor in tensors.items():
        part, _, column = path.partition("/")
        states.setdefault(part, {})[column] = tensor
    return states
