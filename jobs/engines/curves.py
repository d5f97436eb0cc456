"""Read a loss curve: the epoch whose weights become the model, and whether training has converged.

Shapes: m datasets · g grid points · e evaluated epochs.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

ROUNDING = 1e-7  # relative: losses closer than this count as equal, and the last of their epochs is chosen
GAP_TOLERANCE = 1e-4  # R² within 0.0001 of its limit
PLATEAU_TOLERANCE = 1e-3  # relative change over the last evaluation, if the limit is not known


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


def converged_by_gap(gap_mg: Tensor) -> Tensor:
    """Return whether trials with a known limit have converged: their distance from it is a small share of variance."""
    return gap_mg <= GAP_TOLERANCE


def converged_by_plateau(curve_mge: Tensor) -> Tensor:
    """Return whether trials with an unknown limit have converged: the last change of the training loss is small."""
    if curve_mge.shape[2] < 2:
        return torch.zeros(curve_mge.shape[:2], dtype=torch.bool)
    before_mg, last_mg = curve_mge[:, :, -2], curve_mge[:, :, -1]
    return (last_mg - before_mg).abs() <= PLATEAU_TOLERANCE * before_mg.abs()
