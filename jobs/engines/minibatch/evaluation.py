"""How the weights of a fit are scored between epochs: by cross-products for squared error, else by a pass over rows.

Shapes: c rows of a piece · m datasets · g grid points · p weights · q = p + 1 columns of z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.losses import Loss
from jobs.engines.minibatch.loading import PieceLoader
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.engines.moments import Moments, mse


class Evaluator(Protocol):
    """Scores weights on a fixed set of the rows of each dataset."""

    def loss(self, weight_mqg: Tensor, loss: Loss) -> Tensor:
        """Return the mean loss of weights in the units of training, above their row of -1, (m, g) float64."""


@dataclass(frozen=True)
class MomentsEvaluator:
    """Mean squared error from the cross-products of the rows, in the units of training: exact, and free of n."""

    moments: Moments

    def loss(self, weight_mqg: Tensor, loss: Loss) -> Tensor:
        weight_mgp = weight_mqg[:, :-1].double().cpu().mT
        return mse(self.moments, weight_mgp, bias=weight_mgp.shape[2] > self.moments.num_columns)


@dataclass(frozen=True)
class PiecesEvaluator:
    """Any loss by a pass over the rows of one dataset: a piece is summed in the precision of training, all in float64.

    The loader must yield rows, not their Hessians.
    """

    loader: PieceLoader
    ranks: Ranks = SINGLE_PROCESS

    def loss(self, weight_mqg: Tensor, loss: Loss) -> Tensor:
        weight_qg = weight_mqg[0].contiguous()
        total_g = torch.zeros(weight_qg.shape[1], dtype=torch.float64)
        for loaded in self.loader.batches(None, 0, 0):
            of_rows = loss.of_rows(loaded.z_cq[:, -2:-1]) if loaded.weighted else loss
            total_g += of_rows.total(loaded.z_cq @ weight_qg).double().cpu()
        return self.ranks.total(total_g, "a score")[None] / self.loader.num_total


@dataclass(frozen=True)
class Scores:
    """What scores the evaluated epochs of a fit: on the rows that train, and on those that validate, if any do.

    `val_mse` gives the squared error of the latter, where that is not the loss.
    """

    train: Evaluator
    val: Evaluator | None = None
    val_mse: Evaluator | None = None
