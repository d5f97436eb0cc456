"""What a Ray task does, as plain functions: train datasets by a recipe, and tell what is known of them.

Shapes: n rows · m datasets · d encoded columns · k raw features · g grid points · p weights (the d columns, and the
bias last if there is one).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from handler.rows.model_card import ModelCard
from jobs.engines.closed_form import engine as closed_form
from jobs.engines.closed_form.certificate import Certificate, automatic_rates, certify
from jobs.engines.closed_form.convergence import epochs_to_converge
from jobs.engines.closed_form.dependence import dependences
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.checkpointing import Checkpoints
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import Moments
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult
from jobs.recipe import Recipe
from jobs.sources.checks import one_level
from jobs.sources.dataset import Dataset
from jobs.sources.validation_split import TRAINS
from jobs.trials.table import trial_table

MAX_FORECAST_TRIALS = 2000  # of groups: for more, the epochs to converge would take a share of the time of training


@dataclass(frozen=True)
class TrainedDatasets:
    """Datasets that share a model card at every grid point, and what selection and serving need beyond their trials.

    A listed dataset is alone here, with its certificate; the groups of a part are many. `train_moments` are those of
    the rows that the kept weights were fitted to, `score_moments` of those that validate (of all rows, where none or
    each in turn does).
    """

    name_m: tuple[str, ...]
    card: ModelCard
    fingerprint_m: tuple[str, ...]
    settings: TrainingSettings
    hyperparameters: Hyperparameters
    result: BlockResult
    train_moments: Moments
    score_moments: Moments
    fill_mk: np.ndarray
    feature_min_mk: np.ndarray
    feature_max_mk: np.ndarray
    certificate: Certificate | None = None
    frequency: bool = False

    @property
    def name(self) -> str:
        """The name of the only dataset."""
        (name,) = self.name_m
        return name

    def trials(self, *, detailed: bool = True) -> pa.Table:
        """Return the table of the trials; see `trial_table`."""
        return trial_table(
            pa.array(self.name_m, pa.string()),
            self.fingerprint_m,
            self.card,
            self.settings,
            self.hyperparameters,
            self.result,
            detailed=detailed,
            epochs_to_converge_mg=self._epochs_to_converge() if detailed else None,
        )

    def _epochs_to_converge(self) -> Tensor | None:
        """Return after how many epochs each trial has converged, (m, g); None if it is not known, or takes long."""
        if self.certificate is not None:
            return torch.tensor([[verdict.epochs_needed or 0 for verdict in self.certificate.verdicts]])
        descends = all(map(self.settings.is_gradient_descent, self.train_moments.rows_m.tolist()))
        if not descends or self.hyperparameters.learning_rate_mg.numel() > MAX_FORECAST_TRIALS:
            return None
        return epochs_to_converge(self.train_moments, self.hyperparameters, self.settings)


def trained_dataset(
    dataset: Dataset,
    settings: TrainingSettings,
    hyperparameters: Hyperparameters,
    result: BlockResult,
    train_moments: Moments,
    score_moments: Moments,
) -> TrainedDatasets:
    """Return a dataset with its trials and its certificate."""
    return TrainedDatasets(
        name_m=(dataset.name,),
        card=dataset.card,
        fingerprint_m=(scored_rows_fingerprint(dataset),),
        settings=settings,
        hyperparameters=hyperparameters,
        result=result,
        train_moments=train_moments,
        score_moments=score_moments,
        fill_mk=dataset.fill_k[None],
        feature_min_mk=dataset.feature_min_k[None],
        feature_max_mk=dataset.feature_max_k[None],
        frequency=dataset.frequency,
        certificate=certified(dataset.name, dataset.card, train_moments, hyperparameters, settings),
    )


def certified(
    name: str, card: ModelCard, moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings
) -> Certificate:
    """Return the certificate of one dataset (m = 1), with what is to be said of its columns."""
    certificate = certify(name, moments, hyperparameters, settings)
    return replace(certificate, notes=notes_of(card, moments).get(0, ()))


def notes_of(card: ModelCard, moments: Moments) -> dict[int, tuple[str, ...]]:
    """Return, for each dataset with columns that have no weight, or none of their own, what to say; by its place."""
    always, found = one_level(card), dependences(moments, card.bias, card.columns)
    places = range(moments.num_datasets) if always else found
    return {place: (*always, *found.get(place, ())) for place in places}


def rows_of(dataset: Dataset) -> Rows:
    """Return the rows of a dataset with the fold of each; nothing is copied."""
    x_nd, y_n = _tensor(dataset.x_nd), _tensor(dataset.y_n)
    weight_n = None if dataset.weight_n is None else _tensor(dataset.weight_n)
    if dataset.fold_n is None:
        return Rows(x_nd, y_n, weight_n=weight_n)
    # By chance a small dataset has no row in some fold: the others are numbered without a gap.
    folds = np.unique(dataset.fold_n[dataset.fold_n != TRAINS])
    fold_n = np.where(dataset.fold_n == TRAINS, TRAINS, np.searchsorted(folds, dataset.fold_n))
    return Rows(x_nd, y_n, torch.from_numpy(fold_n), len(folds), weight_n=weight_n)


def scored_rows_fingerprint(dataset: Dataset) -> str:
    """Return a sha256, as hex, of the data and of which rows validate: what a score was computed on."""
    folds = b"" if dataset.fold_n is None else dataset.fold_n.astype("<i2").tobytes()
    return hashlib.sha256(dataset.fingerprint.encode() + folds).hexdigest()


def _tensor(array: np.ndarray) -> Tensor:
    """Return the array as a tensor over the same memory; a shared one is read-only, and nothing here writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def resolve(moments: Moments, recipe: Recipe) -> Hyperparameters:
    """Return the grid of a dataset, with the rates of its own spectrum where the recipe says so."""
    if not recipe.automatic_rates:
        return recipe.hyperparameters
    return recipe.hyperparameters.with_rates(automatic_rates(moments, recipe.settings))


def certify_dataset(dataset: Dataset, recipe: Recipe) -> Certificate:
    """Return the certificate of a dataset, from the rows that it trains on."""
    trained = rows_of(dataset).train_moments
    return certified(dataset.name, dataset.card, trained, resolve(trained, recipe), recipe.settings)


def train_dataset(
    dataset: Dataset, recipe: Recipe, checkpoints: Checkpoints | None = None, ranks: Ranks = SINGLE_PROCESS
) -> TrainedDatasets:
    """Return a dataset trained at every grid point; the minibatch engine saves its fits in `checkpoints`.

    Of several ranks each takes its share of the rows, and all return the same.
    """
    rows = rows_of(dataset).share(ranks)
    trained = rows.train_moments
    hyperparameters = resolve(trained, recipe)
    if recipe.engine == "closed_form":
        result = closed_form.train(rows.all_rows, rows.held_out, hyperparameters, recipe.settings)
    else:
        result = block_training.train(rows, hyperparameters, recipe.settings, checkpoints)
    scored = rows.held_out[0] if rows.num_folds == 1 else rows.all_rows
    return trained_dataset(dataset, recipe.settings, hyperparameters, result, trained, scored)


def train_block(
    datasets: Sequence[Dataset], recipe: Recipe, ranks: Ranks = SINGLE_PROCESS
) -> tuple[TrainedDatasets, ...]:
    """Return the datasets of a block trained: what one Ray task does, or each rank of a gang."""
    return tuple(train_dataset(dataset, recipe, ranks=ranks) for dataset in datasets)
