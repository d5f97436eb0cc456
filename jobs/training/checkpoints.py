"""The training checkpoints of a dataset as bytes, named by the keys of its trials, and the task that saves them."""

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
from jobs.sources.validation_split import TRAINS
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
        train_dataset(dataset, recipe, DatasetCheckpoints(name, every_s, saves, _place(number, dataset)), ranks)
        for number, (dataset, name) in enumerate(zip(datasets, names, strict=True))
    )


@dataclass(frozen=True)
class Place:
    """The place of fits in their task: from `before` to `after`, in datasets or parts; `num_fits` after each other."""

    before: float = 0.0
    after: float = 1.0
    num_fits: int = 1


def _place(number: int, dataset: Dataset) -> Place:
    num_folds = 0 if dataset.fold_n is None else len(set(dataset.fold_n.tolist()) - {TRAINS})
    return Place(number, number + 1, fits_of(num_folds))


def fits_of(num_folds: int) -> int:
    """Return the number of fits of a dataset: one for each fold, if they are several, and that of all rows."""
    return num_folds + 1 if num_folds > 1 else 1


class Telling:
    """Tells the driver how far a task is; it saves nothing."""

    def __init__(self, saves: Saves, place: Place) -> None:
        self._saves, self._place, self._fits = saves, place, dict[str, None]()

    def load(self, name: str) -> State | None:
        return None

    def due(self) -> bool:
        return False

    def save(self, name: str, state: State, *, send: bool = True) -> None: ...

    def passed(self, name: str, epoch: int, epochs: int, num_rows: int) -> None:
        """Tell that an epoch of the fit of this name has ended."""
        self._fits[name] = None
        place = self._place
        share = min(1.0, (len(self._fits) - 1 + epoch / epochs) / place.num_fits)
        self._saves.tell(place.before + share * (place.after - place.before), epoch, epochs, num_rows)


class DatasetCheckpoints(Telling):
    """The checkpoints of the fits of one dataset (one for each fold, and that of all rows), saved together."""

    def __init__(self, name: str, every_s: float, saves: Saves, place: Place) -> None:
        super().__init__(saves, place)
        self._name = name
        self._every_s = every_s
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
