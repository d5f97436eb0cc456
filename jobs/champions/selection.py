"""The best trial of a dataset. Pure: values in, values out.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.recipe import Mode


def best_trials(score_mg: Tensor, learning_rate_mg: Tensor, mode: Mode) -> Tensor:
    """Return the position of the best finite score of each dataset, int64 (m,); -1 if no score is finite.

    Ties go to the smaller learning rate, then to the earlier grid point.
    """
    cost_mg = (score_mg if mode == "min" else -score_mg).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
    tied_mg = cost_mg.isfinite() & (cost_mg == cost_mg.amin(1, keepdim=True))
    rate_mg = torch.where(tied_mg, learning_rate_mg, torch.inf)
    return torch.where(tied_mg.any(1), rate_mg.argmin(1), -1)
