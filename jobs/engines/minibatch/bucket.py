"""The minibatch engine for many small datasets: one batched step for all of them, at every grid point.

What `minibatch` does for one dataset is done here for m beside each other: with z = [x 1 y] of each, padded with zeros,
residual = z [W; b; -1] and gradient = zᵀ residual are two batched products, and optimisers and losses are elementwise.
Each dataset has the batches that it would have alone. A trial that diverges, or stops early, is no longer recorded; its
numbers reach no other.

Shapes: m datasets · g grid points (of `live_g` and `weight_pg`: the live trials of all datasets) · r padded rows · n
rows (m r, padded) · b rows of a batch · p weights · q = p + 1 columns of z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.losses import Loss
from jobs.engines.minibatch.evaluation import Evaluator
from jobs.engines.minibatch.ragged import Batches
from jobs.engines.optimizers import RowwiseOptimizer
from jobs.engines.scaling import Scaling
from jobs.engines.settings import TrainingSettings, initial_weights


@dataclass(frozen=True)
class RowsEvaluator:
    """Any loss by a pass over the rows (m, r, q), of which those of zeros add nothing: their residual is 0.

    `weighted`: rows are multiplied by factors, which stand in the column of ones.
    """

    z_mrq: Tensor
    size_m: Tensor
    weighted: bool = False

    def loss(self, weight_mqg: Tensor, loss: Loss) -> Tensor:
        residual_mrg = torch.bmm(self.z_mrq, weight_mqg)
        of_rows = loss.of_rows(self.z_mrq[..., -2:-1]) if self.weighted else loss
        return of_rows.total(residual_mrg, dim=1).double() / self.size_m[:, None]


@dataclass
class BucketStack:
    """The trials of a bucket; `live_g` are the places of those still in training among the trials of all datasets.

    `weight_mqg` holds the weights of all above a row of -1, which takes the target off.
    """

    live_g: Tensor
    weight_mqg: Tensor
    optimizer: RowwiseOptimizer
    loss: Loss
    learning_rate_mpg: Tensor

    @property
    def weight_pg(self) -> Tensor:
        """The weights of the live trials of all datasets in one axis; a copy."""
        return self.weight_mqg[:, :-1].permute(1, 0, 2).flatten(1)[:, self.live_g]

    def score(self, evaluator: Evaluator) -> Tensor:
        """Return the loss of each live trial, (g,) float64."""
        return evaluator.loss(self.weight_mqg, self.loss).flatten()[self.live_g]

    def take(self, keep_g: Tensor) -> None:
        """Record the live trials at `keep_g` alone from now on; the others are stepped on, and reach none of these."""
        self.live_g = self.live_g[keep_g]


def start(
    num_weights: int, scaling: Scaling | None, hyperparameters: Hyperparameters, settings: TrainingSettings
) -> BucketStack:
    """Return the bucket before the first step: every trial at the initial weights of `nn.Linear`."""
    rate_mg = hyperparameters.learning_rate_mg
    hyper = hyperparameters.to(torch.device("cpu"), settings.torch_dtype)
    weight_p = initial_weights(num_weights - settings.bias, settings.bias, settings.seed).to(settings.torch_dtype)
    weight_q = torch.cat([weight_p, weight_p.new_full((1,), -1.0)])
    # Optimisers broadcast what belongs to a grid point; laid out in full, they run through it without a stride.
    wide = {f"{name}_g": column.expand(num_weights, -1).contiguous() for name, column in hyper.others().items()}
    return BucketStack(
        live_g=torch.arange(rate_mg.numel()),
        weight_mqg=weight_q[:, None].expand(len(rate_mg), -1, rate_mg.shape[1]).contiguous(),
        optimizer=settings.new_optimizer(replace(hyper, **wide)),
        loss=settings.new_loss(scaling.hyperparameters_of_each(hyper) if scaling else hyper),
        learning_rate_mpg=hyper.learning_rate_mg[:, None].expand(-1, num_weights, -1).contiguous(),
    )


def run_epoch(
    rows: RowsEvaluator, batches: Batches, stack: BucketStack, settings: TrainingSettings, epoch: int
) -> Tensor:
    """Take the steps of an epoch (from 1); return the loss of the live trials over its last batch, before its step."""
    z_mrq = rows.z_mrq
    factor = settings.schedule.at(epoch - 1, settings.epochs)
    rate_mpg = stack.learning_rate_mpg if factor == 1 else stack.learning_rate_mpg * factor
    z_nq, loss = z_mrq.flatten(0, 1), stack.loss
    residual_mbg = z_mrq
    for number, place_mb in enumerate(batches.epoch(epoch)):
        z_mbq = z_mrq if place_mb is None else z_nq.index_select(0, place_mb.reshape(-1)).view(*place_mb.shape, -1)
        loss = stack.loss.of_rows(z_mbq[..., -2:-1]) if rows.weighted else stack.loss
        residual_mbg = torch.bmm(z_mbq, stack.weight_mqg)
        gradient_mqg = torch.bmm(z_mbq.mT, loss.derivative(residual_mbg))
        gradient_mqg *= (loss.derivative_scale / batches.num_rows(number).to(z_mrq.dtype))[:, None, None]
        stack.optimizer.step(stack.weight_mqg[:, :-1], gradient_mqg[:, :-1], rate_mpg)
    # The weights have moved since, the residuals have not.
    return loss.total(residual_mbg, dim=1).flatten()[stack.live_g]
