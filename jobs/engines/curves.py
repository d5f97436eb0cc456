"""Read a loss curve: the epoch whose weights become the model, and whether training has converged.

Shapes: m datasets · g grid points · e evaluated epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from jobs.engines.settings import LossName

ROUNDING = 1e-7  # relative: losses closer than this count as equal, and the last of their epochs is chosen
SAME_COST = 1e-12  # relative: final losses closer than this do not tell which weights are nearer to the limit
SAME_GAP = 1e-14  # smaller gaps are rounding
GAP_TOLERANCE = 1e-6  # the distance of predictions from their limit, divided by the target's standard deviation
LOOP_TOLERANCE = {torch.float64: GAP_TOLERANCE, torch.float32: 1e-4}  # of a loop in this precision
NOISE_TOLERANCE = 1e-3**0.5  # R² within 0.001 of its limit: steps on some of the rows do not come nearer
PLATEAU_TOLERANCE = 1e-3  # relative change over the last evaluation
UNKNOWN_TOLERANCE = 1e-2  # if the limit is not known: change over half the epochs, and distance from the best trial


def best_epoch_index(curve_mge: Tensor, keep: Literal["best", "last"]) -> Tensor:
    """Return the index of the chosen epoch, (m, g): the smallest finite loss, or the last finite one.

    Losses that differ by rounding count as equal, and the later epoch is chosen: it is closer to the limit.
    """
    position_e = torch.arange(curve_mge.shape[2])
    if keep == "last":
        return torch.where(curve_mge.isfinite(), position_e, 0).amax(2)
    finite_mge = torch.where(curve_mge.isfinite(), curve_mge, torch.inf)
    best_mg1 = finite_mge.amin(2, keepdim=True)
    return torch.where(finite_mge <= best_mg1 * (1 + ROUNDING), position_e, -1).amax(2)


def converged_by_gap(gap_mg: Tensor, tolerance: float = GAP_TOLERANCE) -> Tensor:
    """Return whether trials with a known limit have converged: their predictions are within a tolerance of it."""
    return gap_mg <= tolerance


def no_worse_than_mean(r2_mg: Tensor, loss: LossName) -> Tensor:
    """Return whether trials predict no worse than the mean of the target; a quantile does not estimate the mean."""
    return torch.ones_like(r2_mg, dtype=torch.bool) if loss == "quantile" else r2_mg >= -ROUNDING


def nearest_of_equals(cost_mg: Tensor, gap_mg: Tensor) -> Tensor:
    """Return which trials have the least finite cost; if costs differ by rounding alone, those with the smallest gap.

    A loss has half the digits of the distance from its limit, the gap has the others. Gaps within rounding are equal.
    If no gap is known, the cost alone decides.
    """
    best_m1 = torch.where(cost_mg.isfinite(), cost_mg, torch.inf).amin(1, keepdim=True)
    equal_mg = cost_mg.isfinite() & (cost_mg <= best_m1 + SAME_COST * best_m1.abs())
    known_mg = equal_mg & gap_mg.isfinite()
    smallest_m1 = torch.where(known_mg, gap_mg, torch.inf).amin(1, keepdim=True).clamp(min=SAME_GAP)
    return torch.where(
        known_mg.any(1, keepdim=True), known_mg & (gap_mg <= smallest_m1), equal_mg & (cost_mg == best_m1)
    )


def converged_by_plateau(curve_mge: Tensor, since: int = -2, tolerance: float = PLATEAU_TOLERANCE) -> Tensor:
    """Return whether the training loss has hardly changed since an evaluation, the last but one."""
    if curve_mge.shape[2] < 2:
        return torch.zeros(curve_mge.shape[:2], dtype=torch.bool)
    before_mg, last_mg = curve_mge[:, :, since], curve_mge[:, :, -1]
    return (last_mg - before_mg).abs() <= tolerance * before_mg.abs()


def as_low_as_others(curve_mge: Tensor, problem_g: Sequence[object]) -> Tensor:
    """Return whether trials with an unknown limit have come as low as any trial of the same problem, (m, g).

    The losses are convex, and every trial of a problem tends to the same limit: one that stays above another is not
    there.
    """
    lowest_mg = curve_mge.nan_to_num(nan=torch.inf).amin(2)
    same_gg = torch.tensor([[one == other for other in problem_g] for one in problem_g])
    least_mg = torch.where(same_gg, lowest_mg[:, None, :], torch.inf).amin(2)
    return lowest_mg <= least_mg * (1 + UNKNOWN_TOLERANCE)
