"""Whether training has come to rest: by how far its predictions are from those that it tends to.

Shapes: m datasets · g grid points · e evaluated epochs · p weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.closed_form.descent import Descent, prepare
from jobs.engines.curves import LOOP_TOLERANCE, NOISE_TOLERANCE, converged_by_gap, converged_by_plateau
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments, mse
from jobs.engines.settings import TrainingSettings

MAX_EPOCHS = 10**9
STILL = 1e-13  # the share of its way that a weight has yet to go, below which more epochs change no digit that counts


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
    units of training: what validates best may be an early epoch. Full-batch descent on squared error is held to its
    limit. What else minimises it needs a plateau, or to have been stopped, near the limit; where no limit is known, a
    plateau alone.
    """
    rest_mg = stopped_mg | converged_by_plateau(curve_mge)
    if settings.loss != "mse":
        return Rest(rest_mg, torch.full_like(hyperparameters.learning_rate_mg, torch.nan))
    descent = prepare(trained, hyperparameters, settings)
    weight_mgp = descent.raw(last_weight_mgp[:, :, None])[:, :, 0] if kept_weight_mgp is None else kept_weight_mgp
    gap_mg = _distance_from_limit(descent, weight_mgp)
    descends_m = torch.tensor([settings.is_gradient_descent(size) for size in trained.num_rows_m.tolist()])
    near_mg = torch.where(
        descends_m[:, None],
        converged_by_gap(gap_mg, LOOP_TOLERANCE[settings.torch_dtype]),
        converged_by_gap(gap_mg, NOISE_TOLERANCE) & rest_mg,
    )
    if settings.optimizer == "adamw":
        decoupled_g = hyperparameters.weight_decay_g > 0
        return Rest(torch.where(decoupled_g, rest_mg, near_mg), gap_mg.masked_fill(decoupled_g, torch.nan))
    return Rest(near_mg, gap_mg)


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


def epochs_to_converge(
    moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings, *, still: bool = False
) -> Tensor:
    """Return after how many epochs each trial of full-batch descent has converged, int64 (m, g); 0: not in a billion.

    With `still`, after how many it stands still: no weight has more than 1e-13 of its way to go along any eigenvector,
    so that more epochs would change no digit that counts.
    """
    return epochs_of(prepare(moments, hyperparameters, settings), still=still)


def epochs_of(descent: Descent, *, still: bool = False) -> Tensor:
    """Return the same of a descent, by bisection."""
    there = _stands_still if still else _is_near
    upper_mg = torch.full(descent.hyperparameters.learning_rate_mg.shape, MAX_EPOCHS)
    lower_mg = torch.zeros_like(upper_mg)
    within_mg = there(descent, upper_mg)
    while bool(((upper_mg - lower_mg) > 1).any()):
        middle_mg = (lower_mg + upper_mg) // 2
        closed_mg = there(descent, middle_mg)
        upper_mg = torch.where(closed_mg, middle_mg, upper_mg)
        lower_mg = torch.where(closed_mg, lower_mg, middle_mg)
    return torch.where(within_mg, upper_mg, 0)


def _is_near(descent: Descent, epochs_mg: Tensor) -> Tensor:
    return converged_by_gap(gap_after(descent, epochs_mg))


def _stands_still(descent: Descent, epochs_mg: Tensor) -> Tensor:
    away_mgp = descent.displacement(epochs_mg[:, :, None])[:, :, 0] - descent.limit_mgp
    return (away_mgp.abs() <= STILL * descent.limit_mgp.abs()).all(2) & _is_near(descent, epochs_mg)
