"""A dataset that is streamed through the minibatch engine: validation, folds and scaling around the fits.

What `row_training` does for rows in memory. With k folds the rows are read for k + 1 fits.

Shapes: m = 1 dataset · g grid points.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import Tensor

from jobs.engines.closed_form.divergence import earlier
from jobs.engines.curves import best_epoch_index
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch.bucket_results import Fits, Pooled, block_result
from jobs.engines.minibatch.evaluation import Evaluator, MomentsEvaluator
from jobs.engines.minibatch.streaming import Chunks, ChunksEvaluator, Stream, fit
from jobs.engines.moments import Moments, Scaling, leaving_out, scaling_of
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult


def train(
    stream: Stream,
    moments: Moments,
    held_out: Sequence[Moments],
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
) -> BlockResult:
    """Return the trials of a dataset; `held_out` are the moments of its parts, some maybe of no rows."""
    started = time.perf_counter()
    kept = moments.without(held_out[0]) if len(held_out) == 1 else moments
    pooled = _cross_validate(stream, moments, held_out, hyperparameters, settings) if len(held_out) > 1 else None
    kept_index_g = best_epoch_index(pooled.loss_mge, settings.keep)[0] if pooled else None
    fold = (0, held_out[0]) if len(held_out) == 1 else None
    fits = _fit(stream, kept, fold, hyperparameters, settings, kept_index_g)
    return block_result(fits, kept, held_out, pooled, hyperparameters, settings, time.perf_counter() - started)


def _cross_validate(
    stream: Stream,
    moments: Moments,
    held_out: Sequence[Moments],
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
) -> Pooled:
    """Return how models of the other folds score on each."""
    pooled: Pooled | None = None
    for number, (part, others) in enumerate(zip(held_out, leaving_out(held_out), strict=True)):
        if part.num_rows_m[0] == 0:
            continue
        fits = _fit(stream, others, (number, part), hyperparameters, settings, None)
        pooled = pooled or Pooled.empty(*fits.train_curve_mge.shape)
        share = part.num_rows_m[0] / moments.num_rows_m[0]
        pooled.loss_mge.add_(fits.val_curve_mge * share)
        pooled.mse_mge.add_(fits.val_mse_curve_mge * share)
        pooled.diverged_at_mg.copy_(earlier(pooled.diverged_at_mg, fits.diverged_at_mg))
    assert pooled is not None  # noqa: S101 - every row is in some fold
    return pooled


def _fit(
    stream: Stream,
    trained: Moments,
    fold: tuple[int, Moments] | None,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    kept_index_g: Tensor | None,
) -> Fits:
    """Return a fit to the rows outside the fold (None: all rows), scored within it."""
    scaling = scaling_of(trained, settings.bias) if settings.normalize else None
    part = fold[0] if fold else None
    rows = stream.chunks(scaling, int(trained.num_rows_m[0]), without=part, within=None)
    val_evaluator: Evaluator | None = None
    val_mse_evaluator: Evaluator | None = None
    if fold is not None:
        held = stream.chunks(scaling, int(fold[1].num_rows_m[0]), without=None, within=part)
        val_evaluator = _evaluator(held, fold[1], scaling, settings)
        val_mse_evaluator = _of_moments(fold[1], scaling)
    record = fit(
        rows,
        trained.num_columns,
        _evaluator(rows, trained, scaling, settings),
        val_evaluator,
        hyperparameters,
        settings,
        kept_index_g=kept_index_g,
        val_mse_evaluator=val_mse_evaluator,
    )
    return Fits.of(record, scaling, hyperparameters, settings.bias)


def _evaluator(rows: Chunks, moments: Moments, scaling: Scaling | None, settings: TrainingSettings) -> Evaluator:
    return _of_moments(moments, scaling) if settings.loss == "mse" else ChunksEvaluator(rows)


def _of_moments(moments: Moments, scaling: Scaling | None) -> MomentsEvaluator:
    return MomentsEvaluator(scaling.apply(moments) if scaling else moments)
