"""How a stack of models is scored between epochs: by cross-products for squared error, else by a pass over the rows.

Shapes: n rows · d columns · g grid points · p weights (d, and the bias last where there is one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.batches import Samples
from jobs.engines.losses import Loss
from jobs.moments import Moments, mse

CHUNK_ROWS = 8192


class Evaluator(Protocol):
    """Scores weights on a fixed set of rows."""

    def loss(self, weight_pg: Tensor, loss: Loss) -> Tensor:
        """Return the mean loss of weights in the units of training, (g,) float64."""


@dataclass(frozen=True)
class MomentsEvaluator:
    """Mean squared error from the cross-products of the rows, in the units of training: exact, and free of n."""

    moments: Moments

    def loss(self, weight_pg: Tensor, loss: Loss) -> Tensor:
        bias = weight_pg.shape[0] > self.moments.num_columns
        return mse(self.moments, weight_pg.T.double().cpu()[None], bias)[0]


@dataclass(frozen=True)
class SamplesEvaluator:
    """Any loss by a pass over the rows, in chunks; each chunk is summed in float32, the chunks in float64."""

    samples: Samples

    def loss(self, weight_pg: Tensor, loss: Loss) -> Tensor:
        total_g = torch.zeros(weight_pg.shape[1], dtype=torch.float64)
        for begin in range(0, self.samples.num_rows, CHUNK_ROWS):
            x_cd = self.samples.x_nd[begin : begin + CHUNK_ROWS]
            y_c = self.samples.y_n[begin : begin + CHUNK_ROWS]
            total_g += loss.total(residual(x_cd, y_c, weight_pg)).double().cpu()
        return total_g / self.samples.num_rows


def residual(x_bd: Tensor, y_b: Tensor, weight_pg: Tensor) -> Tensor:
    """Return prediction minus target, (b, g)."""
    d = x_bd.shape[1]
    if weight_pg.shape[0] > d:
        return torch.addmm(weight_pg[d:], x_bd, weight_pg[:d]).sub_(y_b[:, None])
    return torch.mm(x_bd, weight_pg).sub_(y_b[:, None])
