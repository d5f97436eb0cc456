"""A dataset through the minibatch engine: validation, folds and scaling around the fits.

Shapes: m = 1 dataset · g grid points · e evaluated epochs · p weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.closed_form.descent import prepare
from jobs.engines.closed_form.divergence import earlier
from jobs.engines.curves import best_epoch_index, converged_by_gap, converged_by_plateau
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch.checkpointing import Checkpoints
from jobs.engines.minibatch.engine import Fit, fit
from jobs.engines.minibatch.evaluation import Evaluator, MomentsEvaluator, SamplesEvaluator
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import Moments, Scaling, leaving_out, mse, scaling_of
from jobs.engines.settings import TrainingSettings, evaluated_epochs
from jobs.engines.trials import BlockResult


def train(
    rows: Rows, hyperparameters: Hyperparameters, settings: TrainingSettings, checkpoints: Checkpoints | None = None
) -> BlockResult:
    """Return the trials of a dataset at every grid point; each fit is saved in a part of `checkpoints`."""
    started = time.perf_counter()
    moments, parts = rows.moments()
    kept = moments.without(parts[0]) if len(parts) == 1 else moments
    pooled = None
    if len(parts) > 1:
        pooled = _cross_validate(rows, moments, parts, hyperparameters, settings, checkpoints)
    scaling = scaling_of(kept, settings.bias) if settings.normalize else None
    held_out = 0 if len(parts) == 1 else None
    result = fit(
        rows.training(scaling, without=held_out),
        _evaluator(rows, kept, scaling, settings, without=held_out),
        _held_out_evaluator(rows, parts[0], scaling, settings, 0) if len(parts) == 1 else None,
        hyperparameters,
        settings,
        kept_index_g=best_epoch_index(pooled.loss_ge[None], settings.keep)[0] if pooled else None,
        checkpoint=checkpoints.part("all") if checkpoints else None,
        ranks=rows.ranks,
    )
    return _block(result, kept, parts, pooled, scaling, hyperparameters, settings, time.perf_counter() - started)


@dataclass(frozen=True)
class _Pooled:
    """What cross-validation says: losses and squared errors pooled over the folds; the first divergence of any fold."""

    loss_ge: Tensor
    mse_ge: Tensor
    diverged_at_g: Tensor


def _cross_validate(
    rows: Rows,
    moments: Moments,
    parts: tuple[Moments, ...],
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    checkpoints: Checkpoints | None,
) -> _Pooled:
    """Return how models of the other folds score on each."""
    g, e = hyperparameters.num_points, len(evaluated_epochs(settings.epochs, settings.num_evaluations))
    loss_ge, mse_ge = torch.zeros(g, e, dtype=torch.float64), torch.zeros(g, e, dtype=torch.float64)
    diverged_at_g = torch.zeros(g, dtype=torch.int64)
    for number, (part, trained) in enumerate(zip(parts, leaving_out(parts), strict=True)):
        scaling = scaling_of(trained, settings.bias) if settings.normalize else None
        result = fit(
            rows.training(scaling, without=number),
            _evaluator(rows, trained, scaling, settings, without=number),
            _held_out_evaluator(rows, part, scaling, settings, number),
            hyperparameters,
            settings,
            val_mse_evaluator=MomentsEvaluator(scaling.apply(part) if scaling else part),
            checkpoint=checkpoints.part(f"fold {number}") if checkpoints else None,
            ranks=rows.ranks,
        )
        share = part.num_rows_m[0] / moments.num_rows_m[0]
        loss_ge += result.val_curve_ge * share
        mse_ge += result.val_mse_curve_ge * share
        diverged_at_g = earlier(diverged_at_g, result.diverged_at_g)
    return _Pooled(loss_ge, mse_ge, diverged_at_g)


def _evaluator(
    rows: Rows, moments: Moments, scaling: Scaling | None, settings: TrainingSettings, *, without: int | None
) -> Evaluator:
    if settings.loss == "mse":
        return MomentsEvaluator(scaling.apply(moments) if scaling else moments)
    return SamplesEvaluator(rows.training(scaling, without=without), rows.ranks)


def _held_out_evaluator(
    rows: Rows, moments: Moments, scaling: Scaling | None, settings: TrainingSettings, part: int
) -> Evaluator:
    if settings.loss == "mse":
        return MomentsEvaluator(scaling.apply(moments) if scaling else moments)
    return SamplesEvaluator(rows.held_out(scaling, part), rows.ranks)


def _block(
    result: Fit,
    kept: Moments,
    parts: tuple[Moments, ...],
    pooled: _Pooled | None,
    scaling: Scaling | None,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    wall_s: float,
) -> BlockResult:
    diverged_at_g = earlier(result.diverged_at_g, pooled.diverged_at_g) if pooled else result.diverged_at_g
    val_curve_ge = pooled.loss_ge if pooled else result.val_curve_ge
    weight_mgp = result.weight_pg.T[None].masked_fill((diverged_at_g > 0)[None, :, None], torch.nan)
    if scaling is not None:
        weight_mgp = scaling.fold_back(weight_mgp, settings.bias)
    train_mse_mg = mse(kept, weight_mgp, settings.bias)
    # With folds the score of the kept model is the pooled one, as in scikit-learn's searches.
    at_g1 = result.kept_index_g[:, None]
    val_loss_mg = val_curve_ge.gather(1, at_g1).T
    if pooled:
        val_mse_mg = pooled.mse_ge.gather(1, at_g1).T
    else:
        val_mse_mg = mse(parts[0], weight_mgp, settings.bias) if parts else torch.full_like(val_loss_mg, torch.nan)
    return BlockResult(
        engine="minibatch",
        epochs_e=evaluated_epochs(settings.epochs, settings.num_evaluations),
        weight_mgp=weight_mgp,
        epoch_mg=evaluated_epochs(settings.epochs, settings.num_evaluations)[result.kept_index_g][None],
        converged_mg=_converged(result, kept, hyperparameters, settings)[None] & (diverged_at_g == 0)[None],
        diverged_at_mg=diverged_at_g[None],
        train_mse_mg=train_mse_mg,
        val_mse_mg=val_mse_mg,
        train_loss_mg=result.train_curve_ge.gather(1, at_g1).T,
        val_loss_mg=val_loss_mg,
        r2_mg=1 - train_mse_mg / (kept.y_scatter_m / kept.num_rows_m)[:, None],
        train_curve_mge=result.train_curve_ge[None],
        val_curve_mge=val_curve_ge[None],
        wall_s=wall_s,
    )


def _converged(result: Fit, kept: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings) -> Tensor:
    """Return which grid points came to rest; of full-batch descent on squared error the limit is known."""
    if not settings.is_gradient_descent(kept.num_rows_m[0].item()):
        return result.stopped_g | converged_by_plateau(result.train_curve_ge[None])[0]
    descent = prepare(kept, hyperparameters, settings)
    moved_gp = (result.last_weight_pg.T - descent.start_p) @ descent.spectrum.eigenvector_mpp[0]
    return result.stopped_g | converged_by_gap(descent.gap(moved_gp[None]))[0]
