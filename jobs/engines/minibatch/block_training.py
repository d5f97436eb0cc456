"""Datasets through the minibatch engine, wherever their rows are: validation, folds and scaling around the fits.

Shapes: m datasets · g grid points · e evaluated epochs.
"""

from __future__ import annotations

import time
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from jobs.engines.closed_form.divergence import earlier
from jobs.engines.curves import best_epoch_index
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch.checkpointing import Checkpoints
from jobs.engines.minibatch.evaluation import Evaluator, MomentsEvaluator, Scores
from jobs.engines.minibatch.fitting import Run, fit
from jobs.engines.minibatch.ragged import num_batches
from jobs.engines.minibatch.results import Fits, Fold, Pooled, block_result, joined
from jobs.engines.moments import Moments, leaving_out
from jobs.engines.scaling import Scaling, scaling_of
from jobs.engines.settings import TrainingSettings, evaluated_epochs
from jobs.engines.trials import BlockResult


class Source(Protocol):
    """The rows of m datasets: in memory (`Rows`), streamed (`StreamedRows`), or many beside each other (`BucketRows`).

    A single fold is a validation set.
    """

    @property
    def all_rows(self) -> Moments:
        """The moments of all rows."""

    @property
    def held_out(self) -> tuple[Moments, ...]:
        """The moments of each fold, some maybe of no rows."""

    def take(self, index_m: Tensor) -> Self:
        """Return the datasets at `index_m`, in that order."""

    def start(
        self, fold: int | None, scaling: Scaling | None, hyperparameters: Hyperparameters, settings: TrainingSettings
    ) -> Run:
        """Return a fit to the rows outside a fold (None: all rows), before its first step.

        The datasets have equally many batches to an epoch.
        """

    def evaluator(self, fold: int, scaling: Scaling | None, settings: TrainingSettings) -> Evaluator:
        """Return what scores any loss on the rows of a fold."""


def train(
    source: Source, hyperparameters: Hyperparameters, settings: TrainingSettings, checkpoints: Checkpoints | None = None
) -> BlockResult:
    """Return the trials of the datasets at every grid point; each fit is saved in `checkpoints` under its name."""
    started = time.perf_counter()
    moments, held_out = source.all_rows, source.held_out
    pooled = _cross_validate(source, hyperparameters, settings, checkpoints) if len(held_out) > 1 else None
    kept_index_mg = best_epoch_index(pooled.loss_mge, settings.keep) if pooled else None
    alone = len(held_out) == 1
    fold = Fold("all", 0, moments.without(held_out[0]), held_out[0]) if alone else Fold("all", None, moments, None)
    fits = _fit(source, fold, hyperparameters, settings, kept_index_mg, checkpoints)
    return block_result(fits, fold, pooled, hyperparameters, settings, time.perf_counter() - started)


def _cross_validate(
    source: Source, hyperparameters: Hyperparameters, settings: TrainingSettings, checkpoints: Checkpoints | None
) -> Pooled:
    """Return how models of the other folds score on each; a dataset is left out of a fold that has none of its rows."""
    m, g = hyperparameters.learning_rate_mg.shape
    zeros_mge = torch.zeros(m, g, len(evaluated_epochs(settings.epochs, settings.num_evaluations)), dtype=torch.float64)
    pooled = Pooled(zeros_mge, zeros_mge.clone(), torch.zeros(m, g, dtype=torch.int64))
    for number, (rows, others) in enumerate(zip(source.held_out, leaving_out(source.held_out), strict=True)):
        index_m = (rows.num_rows_m > 0).nonzero()[:, 0]
        if len(index_m) == 0:
            continue
        fold = Fold(f"fold {number}", number, others, rows).take(index_m)
        fits = _fit(source.take(index_m), fold, hyperparameters.datasets(index_m), settings, None, checkpoints)
        share_m11 = (rows.num_rows_m / source.all_rows.num_rows_m)[index_m, None, None]
        pooled.loss_mge[index_m] += fits.val_curve_mge * share_m11
        pooled.mse_mge[index_m] += fits.val_mse_curve_mge * share_m11
        pooled.diverged_at_mg[index_m] = earlier(pooled.diverged_at_mg[index_m], fits.diverged_at_mg)
    return pooled


def _fit(
    source: Source,
    fold: Fold,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    kept_index_mg: Tensor | None,
    checkpoints: Checkpoints | None,
) -> Fits:
    """Return the fits of all datasets; those with equally many batches to an epoch are fitted together."""
    number_m = num_batches(fold.trained.rows_m, settings.batch_size)
    places = [(number_m == number).nonzero()[:, 0] for number in sorted(set(number_m.tolist()))]
    if len(places) > 1:
        fits = []
        for index_m in places:
            kept = None if kept_index_mg is None else kept_index_mg[index_m]
            taken = source.take(index_m), fold.take(index_m), hyperparameters.datasets(index_m)
            fits.append(_fit(*taken, settings, kept, checkpoints))
        return joined(fits, places)
    scaling = scaling_of(fold.trained, settings)
    run = source.start(fold.index, scaling, hyperparameters, settings)
    scores = _scores(source, run, fold, scaling, settings)
    kept_index_g = None if kept_index_mg is None else kept_index_mg.flatten()
    how: dict[str, Any] = {"name": fold.name, "num_rows": int(fold.trained.rows_m.sum()), "kept_index_g": kept_index_g}
    record = fit(run, scores, settings, **how, checkpoints=checkpoints)
    return Fits.of(record, scaling, hyperparameters, settings)


def _scores(source: Source, run: Run, fold: Fold, scaling: Scaling | None, settings: TrainingSettings) -> Scores:
    """Return what scores a fit: moments for squared error, else a pass over the rows."""

    def of_moments(moments: Moments) -> MomentsEvaluator:
        return MomentsEvaluator(scaling.apply(moments) if scaling else moments)

    train = of_moments(fold.trained) if settings.loss == "mse" else run.evaluator
    if fold.index is None or fold.scored is None:
        return Scores(train)
    val_mse = of_moments(fold.scored)
    if settings.loss == "mse":
        return Scores(train, val_mse)
    return Scores(train, source.evaluator(fold.index, scaling, settings), val_mse)
