"""The closed_form engine: full-batch gradient descent on squared error, without taking a step.

The result depends on the data only through their cross-products, so one pass over the data is enough for every learning
rate, momentum, weight decay and number of epochs. All numbers are float64. If a float32 loop would overflow, the trial
is reported as diverged at the epoch at which the loop's loss becomes infinite.

Shapes: m datasets · g grid points · e evaluated epochs · p weights (the d columns, and the bias last if there
is one).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from jobs.engines.closed_form.convergence import last_epochs
from jobs.engines.closed_form.descent import prepare
from jobs.engines.closed_form.divergence import divergence_epoch, earlier
from jobs.engines.closed_form.quadratic import loss_along, reached
from jobs.engines.closed_form.spectrum import hessian
from jobs.engines.curves import best_epoch_index, converged_by_gap, no_worse_than_mean
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments, leaving_out
from jobs.engines.scaling import scaled
from jobs.engines.settings import TrainingSettings, evaluated_epochs
from jobs.engines.trials import BlockResult

MAX_ELEMENTS = 4_000_000  # of a temporary (m, g, e, p): 32 MB


def train(
    moments: Moments,
    held_out: Sequence[Moments],
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    *,
    want_curves: bool = True,
) -> BlockResult:
    """Return the trials of every dataset at every grid point.

    `moments` are of all rows. `held_out` is empty (no validation), one element (the other rows train), or the folds (a
    model of the other rows scores each fold, and the scores are pooled; the weights are trained on all rows).
    Without `want_curves` the curves have only the last epoch; if the loss can't rise, only that epoch is computed.
    """
    started = time.perf_counter()
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations)
    if want_curves or held_out:
        trials = _train_all(moments, held_out, hyperparameters, settings, epochs_e, want_curves=want_curves)
    else:
        trials = _train_by_need(moments, hyperparameters, settings, epochs_e)
    result = _result(trials, epochs_e, time.perf_counter() - started)
    return result if want_curves else result.last_epoch_only()


def _train_by_need(
    moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings, epochs_e: Tensor
) -> _Trials:
    """Compute only the last epoch of grid points whose loss falls with every epoch, all evaluated epochs of others."""
    steady_g = _falls_steadily(moments, hyperparameters, settings)
    order_g = torch.cat([steady_g.nonzero()[:, 0], (~steady_g).nonzero()[:, 0]])
    num_steady = int(steady_g.sum())
    results = []
    for index_g, evaluated_e in ((order_g[:num_steady], epochs_e[-1:]), (order_g[num_steady:], epochs_e)):
        if len(index_g):
            trials = _train_all(moments, (), hyperparameters.take(index_g), settings, evaluated_e, want_curves=False)
            results.append(trials.last_epoch_only())
    return _join(results, dim=1).points(order_g.argsort())


def _falls_steadily(moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings) -> Tensor:
    """Return the grid points whose training loss falls with every epoch, for every dataset, (g,) bool.

    It does without momentum and weight decay, below the stability limit; then the last epoch is the best.
    """
    # The trace bounds the largest eigenvalue from above.
    trace_m1 = hessian(scaled(moments, settings), settings.bias).diagonal(dim1=1, dim2=2).sum(1)[:, None]
    plain_g = (hyperparameters.momentum_g == 0) & (hyperparameters.weight_decay_g == 0)
    steady_g: Tensor = plain_g & (hyperparameters.learning_rate_mg * trace_m1 < 2).all(0)
    return steady_g


def _train_all(
    moments: Moments,
    held_out: Sequence[Moments],
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    epochs_e: Tensor,
    *,
    want_curves: bool,
) -> _Trials:
    """Train a few datasets at a time, so that temporaries stay small."""
    per_dataset = hyperparameters.num_points * len(epochs_e) * (moments.num_columns + 1)
    step = max(1, MAX_ELEMENTS // per_dataset)
    return _join(
        [
            _train_datasets(
                moments.take(slice(start, start + step)),
                [rows.take(slice(start, start + step)) for rows in held_out],
                hyperparameters.datasets(slice(start, start + step)),
                settings,
                epochs_e,
                want_curves=want_curves,
            )
            for start in range(0, moments.num_datasets, step)
        ],
        dim=0,
    )


@dataclass(frozen=True)
class _Trials:
    weight_mgp: Tensor
    epoch_mg: Tensor
    converged_mg: Tensor
    gap_mg: Tensor
    diverged_at_mg: Tensor
    train_mse_mg: Tensor
    val_mse_mg: Tensor
    r2_mg: Tensor
    train_curve_mge: Tensor
    val_curve_mge: Tensor

    def points(self, index_g: Tensor) -> _Trials:
        """Return the grid points at `index_g`, in that order."""
        return _Trials(**{field.name: getattr(self, field.name)[:, index_g] for field in fields(self)})

    def last_epoch_only(self) -> _Trials:
        """Return the same trials with only the last epoch of each curve."""
        return replace(
            self, train_curve_mge=self.train_curve_mge[:, :, -1:], val_curve_mge=self.val_curve_mge[:, :, -1:]
        )


def _train_datasets(
    moments: Moments,
    held_out: Sequence[Moments],
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    epochs_e: Tensor,
    *,
    want_curves: bool,
) -> _Trials:
    """Train all datasets at once; without `want_curves`, the training curve has only the epochs that are needed."""
    trained = moments.without(held_out[0]) if len(held_out) == 1 else moments
    descent = prepare(trained, hyperparameters, settings)
    # A trial that has ended stays where it is: its curves are level from there on.
    last_mg = last_epochs(descent, settings)
    steps_mge = torch.minimum(epochs_e, last_mg[:, :, None])
    displacement_mgep = descent.displacement(steps_mge)
    about_mp = reached(descent, last_mg)
    train_loss = loss_along(descent, trained, about_mp)
    diverged_at_mg = divergence_epoch(descent, last_mg)
    val_curve_mge = torch.full(displacement_mgep.shape[:3], torch.nan, dtype=torch.float64)
    if len(held_out) == 1:
        val_curve_mge = loss_along(descent, held_out[0], about_mp).at(displacement_mgep)
    elif held_out:
        val_curve_mge, fold_diverged_mg = _cross_validate(moments, held_out, hyperparameters, settings, steps_mge)
        diverged_at_mg = earlier(diverged_at_mg, fold_diverged_mg)
    needed = want_curves or not held_out
    train_curve_mge = train_loss.at(displacement_mgep if needed else displacement_mgep[:, :, -1:])
    index_mg = best_epoch_index(val_curve_mge if held_out else train_curve_mge, settings.keep)
    at = index_mg[:, :, None]
    chosen_mg1p = displacement_mgep.gather(2, at[..., None].expand(-1, -1, -1, displacement_mgep.shape[-1]))
    dead_mg = diverged_at_mg > 0
    train_mse_mg = train_loss.at(chosen_mg1p)[..., 0]
    variance_m1 = (trained.y_scatter_m / trained.num_rows_m)[:, None]
    weight_mgp = descent.raw(descent.weights(chosen_mg1p))[:, :, 0]
    # Validation may choose an early epoch; whether the descent has converged is a question to its last.
    gap_mg = descent.gap((displacement_mgep[:, :, -1:] if held_out else chosen_mg1p)[:, :, 0])
    r2_mg = 1 - train_mse_mg / variance_m1
    return _Trials(
        weight_mgp=weight_mgp.masked_fill(dead_mg[..., None], torch.nan),
        epoch_mg=steps_mge.gather(2, at)[..., 0],
        converged_mg=converged_by_gap(gap_mg) & no_worse_than_mean(r2_mg, settings.loss) & ~dead_mg,
        gap_mg=gap_mg.masked_fill(dead_mg, torch.nan),
        diverged_at_mg=diverged_at_mg,
        train_mse_mg=train_mse_mg.masked_fill(dead_mg, torch.nan),
        val_mse_mg=val_curve_mge.gather(2, at)[..., 0].masked_fill(dead_mg, torch.nan),
        r2_mg=r2_mg.masked_fill(dead_mg, torch.nan),
        train_curve_mge=train_curve_mge,
        val_curve_mge=val_curve_mge,
    )


def _cross_validate(
    moments: Moments,
    folds: Sequence[Moments],
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    steps_mge: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the pooled validation curve (m, g, e) and the first divergence of any fold (m, g)."""
    squares_mge: Tensor | None = None
    diverged_at_mg = torch.zeros_like(hyperparameters.learning_rate_mg, dtype=torch.int64)
    for fold, others in zip(folds, leaving_out(folds), strict=True):
        descent = prepare(others, hyperparameters, settings)
        displacement_mgep = descent.displacement(steps_mge)
        curve_mge = loss_along(descent, fold, reached(descent, steps_mge[:, :, -1])).at(displacement_mgep)
        error_mge = curve_mge.mul_(fold.num_rows_m[:, None, None])
        squares_mge = error_mge if squares_mge is None else squares_mge + error_mge
        diverged_at_mg = earlier(diverged_at_mg, divergence_epoch(descent, steps_mge[:, :, -1]))
    assert squares_mge is not None  # noqa: S101 - the caller has folds
    return squares_mge / moments.num_rows_m[:, None, None], diverged_at_mg


def _join(results: Sequence[_Trials], dim: int) -> _Trials:
    return _Trials(
        **{field.name: torch.cat([getattr(each, field.name) for each in results], dim=dim) for field in fields(_Trials)}
    )


def _result(trials: _Trials, epochs_e: Tensor, wall_s: float) -> BlockResult:
    return BlockResult(
        engine="closed_form",
        epochs_e=epochs_e,
        train_loss_mg=trials.train_mse_mg,
        val_loss_mg=trials.val_mse_mg,
        wall_s=wall_s,
        **{field.name: getattr(trials, field.name) for field in fields(_Trials)},
    )
