"""Find the trials of a job that are not stored, and merge new trials with the stored ones.

Shapes: m datasets (one) · g grid points.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import torch

from jobs.recipe import Recipe
from jobs.sources.dataset import Dataset
from jobs.training.datasets import TrainedDatasets, scored_rows_fingerprint, trained_dataset
from jobs.trials.columns import KeyedTrials, join, keys_tensor
from jobs.trials.keys import dataset_key, trial_keys
from jobs.trials.library import Place, TrialLibrary, pieces_of


@dataclass(frozen=True)
class Work:
    """A dataset with the keys of its grid, what of it was stored, and the recipe of what was not (None: all was)."""

    dataset: Dataset
    recipe: Recipe
    key: bytes
    keys: tuple[bytes, ...]
    stored: tuple[KeyedTrials, ...]
    missing: Recipe | None

    @property
    def missing_keys(self) -> tuple[bytes, ...]:
        """The keys of the trials to be computed."""
        return trial_keys(self.key, self.missing) if self.missing else ()


def remaining(datasets: Sequence[Dataset], recipe: Recipe, library: TrialLibrary) -> list[Work]:
    """Return the stored trials of each dataset, and the recipe of the missing ones."""
    keys = [dataset_key(scored_rows_fingerprint(dataset), dataset.card, recipe) for dataset in datasets]
    wanted = [trial_keys(key, recipe) for key in keys]
    library.look_for(key for of_dataset in wanted for key in of_dataset)
    work = []
    used: list[Place] = []
    for dataset, key, of_dataset in zip(datasets, keys, wanted, strict=True):
        missing = missing_of(recipe, of_dataset, {k for k in of_dataset if library.place(k) is not None})
        trained = set(trial_keys(key, missing)) if missing else set()
        places = [place for k in of_dataset if k not in trained and (place := library.place(k)) is not None]
        used += places
        work.append(Work(dataset, recipe, key, of_dataset, pieces_of(places), missing))
    library.use(used)
    return work


def with_keys(work: Work, trained: TrainedDatasets) -> KeyedTrials:
    """Return what was trained of a dataset with its keys."""
    result = replace(trained.result, wall_s=0.0)
    moments = trained.train_moments, trained.score_moments
    return KeyedTrials(keys_tensor(work.missing_keys), trained.hyperparameters, result, *moments)


def merge_stored(work: Work, trained: TrainedDatasets | None) -> TrainedDatasets:
    """Return the dataset at every grid point of its recipe: what was trained now (None: nothing), and what was stored.

    The certificate of grid points from several places is made anew.
    """
    if trained is not None and not work.stored:
        return trained
    pieces = [*work.stored, *([with_keys(work, trained)] if trained else [])]
    trials = join("g", pieces)
    at = {key: point for point, key in enumerate(trials.keys[0])}
    trials = trials.take("g", torch.tensor([at[key] for key in work.keys]))
    grid, result = trials.hyperparameters, trials.result
    settings = work.recipe.settings
    return trained_dataset(work.dataset, settings, grid, result, trials.train_moments, trials.score_moments)


def missing_of(recipe: Recipe, keys: Sequence[bytes], stored: Set[bytes]) -> Recipe | None:
    """Return the recipe of the grid points that are not stored (None: all are), of all automatic rates of each.

    `keys` are those of the trials of the whole recipe, in the order of `trial_keys`.
    """
    num_points = recipe.hyperparameters.num_points
    absent = [g for g in range(num_points) if not stored >= set(keys[g::num_points])]
    if not absent:
        return None
    return replace(recipe, hyperparameters=recipe.hyperparameters.take(torch.tensor(absent)))
