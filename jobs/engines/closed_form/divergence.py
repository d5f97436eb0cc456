"""The epoch at which a trial diverges: the loss of a float32 loop becomes infinite there.

Shapes: m datasets · g grid points · p weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.engines.closed_form.descent import Descent
from jobs.engines.moments import mse

FLOAT32_MAX = torch.finfo(torch.float32).max


def earlier(a_mg: Tensor, b_mg: Tensor) -> Tensor:
    """Return the earlier of two epochs of divergence; 0 means none."""
    never = torch.iinfo(torch.int64).max
    first = torch.minimum(a_mg.masked_fill(a_mg == 0, never), b_mg.masked_fill(b_mg == 0, never))
    return first.masked_fill(first == never, 0)


def divergence_epoch(descent: Descent, last_mg: Tensor) -> Tensor:
    """Return the first epoch whose loss, summed in float32 before its step, is infinite, (m, g) int64; 0 if none is.

    `last_mg` are the last epochs. The sum of squares in a diverging direction only grows, so bisection finds the first.
    """
    epoch_mg = torch.zeros_like(last_mg)
    diverged_mg = _overflows(descent, last_mg)
    if bool(diverged_mg.any()):
        index_m, index_g = diverged_mg.any(1).nonzero()[:, 0], diverged_mg.any(0).nonzero()[:, 0]
        at = index_m[:, None], index_g
        first_mg = _bisect(descent.take(index_m, index_g), last_mg[at])
        epoch_mg[at] = torch.where(diverged_mg[at], first_mg, 0)
    return epoch_mg


def _bisect(descent: Descent, last_mg: Tensor) -> Tensor:
    upper_mg, lower_mg = last_mg, torch.full_like(last_mg, -1)
    while bool(((upper_mg - lower_mg) > 1).any()):
        middle_mg = (lower_mg + upper_mg + 1) // 2
        over_mg = _overflows(descent, middle_mg)
        upper_mg = torch.where(over_mg, middle_mg, upper_mg)
        lower_mg = torch.where(over_mg, lower_mg, middle_mg)
    return torch.minimum(upper_mg + 1, last_mg)


def _overflows(descent: Descent, steps_mg: Tensor) -> Tensor:
    weight_mgp = descent.raw(descent.weights(descent.displacement(steps_mg[:, :, None])))[:, :, 0]
    squares_mg = mse(descent.moments, weight_mgp, descent.bias) * descent.moments.rows_m[:, None]
    unit_mg = descent.raw_squares(torch.ones_like(squares_mg))
    return ~(squares_mg <= FLOAT32_MAX * unit_mg)
