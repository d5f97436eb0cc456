"""How a stack of models is scored between epochs: by cross-products for squared error, else by a pass over the rows.

Shapes: c rows of a piece · g grid points · p weights (d, and the bias last where there is one) · q = p + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.losses import Loss
from jobs.engines.minibatch.batches import EpochPlan, Samples
from jobs.engines.minibatch.loading import Loader
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.engines.moments import Moments, mse


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
    """Any loss by a pass over the rows, in pieces: a piece is summed in the precision of training, all in float64."""

    samples: Samples
    ranks: Ranks = SINGLE_PROCESS

    def loss(self, weight_pg: Tensor, loss: Loss) -> Tensor:
        n = self.samples.num_rows
        bias = weight_pg.shape[0] > self.samples.num_columns
        loader = Loader(self.samples, weight_pg.dtype, bias=bias, device=weight_pg.device)
        weight_qg = torch.cat([weight_pg, weight_pg.new_full((1, weight_pg.shape[1]), -1.0)])
        total_g = torch.zeros(weight_pg.shape[1], dtype=torch.float64)
        for loaded in loader.epoch(EpochPlan(None, (0, n), (n,))):
            total_g += loss.total(loaded.z_cq @ weight_qg).double().cpu()
        return self.ranks.total(total_g, "a score") / self.samples.num_total
