"""What is read off a loss curve: the epoch to keep, and whether training came to rest.

Shapes: m datasets · g grid points · e evaluated epochs.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

ROUNDING = 1e-7  # losses closer than this (relative) are equal: of those, the last epoch is kept
GAP_TOLERANCE = 1e-4  # R² within 0.0001 of where it tends
PLATEAU_TOLERANCE = 1e-3  # relative change over the last evaluation, where no limit is known


def best_epoch_index(curve_mge: Tensor, keep: Literal["best", "last"]) -> Tensor:
    """Return the index of the epoch to keep, (m, g): the smallest finite loss, or the last that is finite.

    Losses that differ by rounding count as equal, and the later epoch is kept: it is closer to the limit.
    """
    position_e = torch.arange(curve_mge.shape[2])
    if keep == "last":
        return torch.where(curve_mge.isfinite(), position_e, 0).amax(2)
    finite_mge = torch.where(curve_mge.isfinite(), curve_mge, torch.inf)
    best_mg1 = finite_mge.amin(2, keepdim=True)
    return torch.where(finite_mge <= best_mg1 * (1 + ROUNDING), position_e, -1).amax(2)


def converged_by_gap(gap_mg: Tensor) -> Tensor:
    """Return which trials have come to rest, where the limit is known: by the share of variance still missing."""
    return gap_mg <= GAP_TOLERANCE


def converged_by_plateau(curve_mge: Tensor) -> Tensor:
    """Return which trials have come to rest, where the limit is not known: by the last change of the training loss."""
    if curve_mge.shape[2] < 2:
        return torch.zeros(curve_mge.shape[:2], dtype=torch.bool)
    before_mg, last_mg = curve_mge[:, :, -2], curve_mge[:, :, -1]
    return (last_mg - before_mg).abs() <= PLATEAU_TOLERANCE * before_mg.abs()
