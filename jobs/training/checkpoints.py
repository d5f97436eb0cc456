"""The training checkpoints of a dataset as bytes, named by the keys of its trials, and the task that saves them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

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
        self._name = name
        self._every_s = every_s
        self._saves = saves
        self._states = _parse(name, saves.get(name))

    def load(self, name: str) -> State | None:
        """Return the last saved state of a fit, or None."""
        return self._states.get(name)

    def due(self) -> bool:
        """Return whether the last checkpoint is older than `every_s`."""
        return self._saves.age_s() >= self._every_s

    def save(self, name: str, state: State, *, send: bool = True) -> None:
        """Save the state of a fit; with `send`, send the states of all fits."""
        self._states[name] = state
        if send:
            tensors = {f"{fit}/{column}": tensor for fit, of in self._states.items() for column, tensor in of.items()}
            self._saves.put(self._name, save(tensors))


def _parse(name: str, data: bytes | None) -> dict[str, State]:
    states: dict[str, State] = {}
    try:
        tensors = load(data) if data else {}
    except SafetensorError as exc:
        logger.warning("checkpoint %s is not used: %s", name, exc)
        return states
    for path, tensor in tensors.items():
        fit, _, column = path.partition("/")
        states.setdefault(fit, {})[column] = tensor
    return states
