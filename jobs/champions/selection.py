"""The best trial of a dataset. Pure: values in, values out.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.engines.curves import nearest_of_equals
from jobs.recipe import Mode


def best_trials(score_mg: Tensor, gap_mg: Tensor, learning_rate_mg: Tensor, mode: Mode) -> Tensor:
    """Return the position of the best finite score of each dataset, int64 (m,); -1 if no score is finite.

    Scores that differ by rounding alone tie. Ties go to the smaller gap, then to the smaller learning rate, then to the
    earlier grid point.
    """
    tied_mg = nearest_of_equals(score_mg if mode == "min" else -score_mg, gap_mg)
    rate_mg = torch.where(tied_mg, learning_rate_mg, torch.inf)
    return torch.where(tied_mg.any(1), rate_mg.argmin(1), -1)
