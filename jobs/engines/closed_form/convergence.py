"""Whether training has come to rest: by how far its predictions are from those that it tends to.

Shapes: m datasets · g grid points · e evaluated epochs · p weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.closed_form.descent import Descent, prepare
from jobs.engines.curves import (
    GAP_TOLERANCE,
    LOOP_TOLERANCE,
    NOISE_TOLERANCE,
    UNKNOWN_TOLERANCE,
    as_low_as_others,
    converged_by_gap,
    converged_by_plateau,
)
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments, mse
from jobs.engines.settings import MAX_EPOCHS, TrainingSettings, evaluated_epochs

PROBLEM = ("huber_delta", "quantile")  # the hyperparameters of a loss
STILL = 1e-16  # the share of its way that a weight has yet to go, below which more epochs change no digit


@dataclass(frozen=True)
class Rest:
    """Which trials came to rest, and their gap: how far predictions are from the limit, by the target's deviation.

    The gap is NaN where the limit is not known: of other losses than the squared error, and of decoupled weight decay.
    """

    converged_mg: Tensor
    gap_mg: Tensor


def rest_of_loop(
    last_weight_mgp: Tensor,
    kept_weight_mgp: Tensor | None,
    curve_mge: Tensor,
    stopped_mg: Tensor,
    trained: Moments,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
) -> Rest:
    """Return which trials of a loop came to rest, by their weights and the curves of their training loss.

    The weights are those of the kept epoch, in raw units; where some rows validate (None) those of the last, in the
    units of training: what validates best may be an early epoch. On squared error they are held to the limit; what is
    not full-batch descent also comes to rest on a plateau, or where it was stopped, near the limit. Where no limit is
    known, a plateau is enough.
    """
    if settings.loss != "mse":
        rest_mg = stopped_mg | converged_by_plateau(curve_mge, _half_way(settings), UNKNOWN_TOLERANCE)
        rest_mg &= as_low_as_others(curve_mge, _problems(hyperparameters))
        return Rest(rest_mg, torch.full_like(hyperparameters.learning_rate_mg, torch.nan))
    rest_mg = stopped_mg | converged_by_plateau(curve_mge)
    descent = prepare(trained, hyperparameters, settings)
    weight_mgp = descent.raw(last_weight_mgp[:, :, None])[:, :, 0] if kept_weight_mgp is None else kept_weight_mgp
    gap_mg = _distance_from_limit(descent, weight_mgp)
    descends_m = torch.tensor([settings.is_gradient_descent(size) for size in trained.rows_m.tolist()])
    near_mg = converged_by_gap(gap_mg, LOOP_TOLERANCE[settings.torch_dtype])
    near_mg |= ~descends_m[:, None] & converged_by_gap(gap_mg, NOISE_TOLERANCE) & rest_mg
    if settings.optimizer == "adamw":
        decoupled_g = hyperparameters.weight_decay_g > 0
        return Rest(torch.where(decoupled_g, rest_mg, near_mg), gap_mg.masked_fill(decoupled_g, torch.nan))
    return Rest(near_mg, gap_mg)


def _half_way(settings: TrainingSettings) -> int:
    """Return the last evaluation in the first half of the epochs."""
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations)
    return max(int((epochs_e <= settings.epochs / 2).sum()) - 1, 0)


def _problems(hyperparameters: Hyperparameters) -> list[object]:
    """Return for each grid point what the limit of training depends on; of weight decay each is a problem of its own.

    Its curves have the loss without the penalty, which is not what descends.
    """
    columns = zip(*(hyperparameters.others()[name].tolist() for name in PROBLEM), strict=True)
    decays = hyperparameters.weight_decay_g.tolist()
    return [(g if decay > 0 else -1, values) for g, (decay, values) in enumerate(zip(decays, columns, strict=True))]


def _distance_from_limit(descent: Descent, weight_mgp: Tensor) -> Tensor:
    """Return how far predictions of weights in raw units are from the limit's, by the target's deviation, (m, g)."""
    away_mgp = weight_mgp - descent.raw(descent.weights(descent.limit_mgp[:, :, None]))[:, :, 0]
    moments, zeros_m = descent.moments, torch.zeros_like(descent.moments.num_rows_m)
    no_target = replace(moments, y_mean_m=zeros_m, cross_md=torch.zeros_like(moments.cross_md), y_scatter_m=zeros_m)
    variance_m1 = (moments.y_scatter_m / moments.num_rows_m)[:, None]
    square_mg = mse(no_target, away_mgp, descent.bias) + descent.unresolved_m[:, None]
    return (square_mg / variance_m1.clamp(min=1e-300)).sqrt()


def gap_after(descent: Descent, epochs_mg: Tensor) -> Tensor:
    """Return the gap after so many epochs, (m, g)."""
    return descent.gap(descent.displacement(epochs_mg[:, :, None])[:, :, 0])


def epochs_to_converge(moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings) -> Tensor:
    """Return after how many epochs each trial of full-batch descent has converged, (m, g) int64; 0: not in 1e9."""
    return epochs_needed(prepare(moments, hyperparameters, settings))


def epochs_needed(descent: Descent) -> Tensor:
    """Return the same of a descent, by bisection."""
    upper_mg = torch.full(descent.hyperparameters.learning_rate_mg.shape, MAX_EPOCHS)
    lower_mg = torch.zeros_like(upper_mg)
    within_mg = converged_by_gap(gap_after(descent, upper_mg))
    while bool(((upper_mg - lower_mg) > 1).any()):
        middle_mg = (lower_mg + upper_mg) // 2
        closed_mg = converged_by_gap(gap_after(descent, middle_mg))
        upper_mg = torch.where(closed_mg, middle_mg, upper_mg)
        lower_mg = torch.where(closed_mg, lower_mg, middle_mg)
    return torch.where(within_mg, upper_mg, 0)


def epochs_until_still(descent: Descent) -> Tensor:
    """Return after how many epochs each trial stands still, int64 (m, g); a billion at most.

    Then no weight has more than 1e-16 of its way to go along any eigenvector, and the gap is closed: more epochs change
    no digit. The way that remains shrinks by the same factor with every epoch.
    """
    limit_mgp, eigenvalue_m1p = descent.limit_mgp, descent.spectrum.eigenvalue_mp[:, None, :]
    p = limit_mgp.shape[2]
    square_mgp = descent.raw_squares(0.5 * eigenvalue_m1p * limit_mgp.square()).clamp(min=1e-300)
    near_mgp = GAP_TOLERANCE / 2 * (descent.variance_m[:, None, None] / (p * square_mgp)).sqrt()
    log_share_mgp = near_mgp.clamp(min=1e-300, max=STILL).log()
    log_factor_mgp, momentum_g1 = _log_factor(descent), descent.hyperparameters.momentum_g[:, None]
    # With momentum the way may also be multiplied by the number of epochs.
    number_mgp = torch.where(momentum_g1 > 0, (log_share_mgp / log_factor_mgp).clamp(1, MAX_EPOCHS), 1.0)
    needed_mgp = (log_share_mgp - number_mgp.log()) / log_factor_mgp
    needed_mgp = torch.where(log_factor_mgp < 0, needed_mgp, torch.inf)
    needed_mgp = torch.where((limit_mgp == 0) | (descent.curvature_mgp <= 0), 0.0, needed_mgp)
    return needed_mgp.amax(2).ceil().clamp(1, MAX_EPOCHS).long()


def _log_factor(descent: Descent) -> Tensor:
    """Return the logarithm of the factor by which an epoch shrinks the way that remains along each eigenvector."""
    hyper = descent.hyperparameters
    rate_mgp = hyper.learning_rate_mg[:, :, None] * descent.curvature_mgp
    if not bool((hyper.momentum_g > 0).any()):
        below_mgp = torch.log1p(-rate_mgp.clamp(max=1.0))
        return torch.where(rate_mgp < 1, below_mgp, (rate_mgp - 1).abs().log())
    momentum_g1, ahead_g1 = hyper.momentum_g[:, None], torch.where(hyper.nesterov_g, hyper.momentum_g, 0.0)[:, None]
    trace_mgp = 1 + momentum_g1 - rate_mgp * (1 + ahead_g1)
    determinant_mgp = momentum_g1 - ahead_g1 * rate_mgp
    root_mgp = (trace_mgp.square() / 4 - determinant_mgp).clamp(min=0.0).sqrt()
    real_mgp = trace_mgp.abs() / 2 + root_mgp
    return torch.where(root_mgp > 0, real_mgp, determinant_mgp.clamp(min=0.0).sqrt()).log()


def last_epochs(descent: Descent, settings: TrainingSettings) -> Tensor:
    """Return after how many epochs each trial ends, int64 (m, g)."""
    if settings.automatic_epochs:
        return epochs_until_still(descent)
    return torch.full(descent.hyperparameters.learning_rate_mg.shape, settings.epochs)
