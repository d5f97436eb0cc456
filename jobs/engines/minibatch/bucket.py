"""The minibatch engine for many small datasets: one batched step for all of them, at every grid point.

What `minibatch` does for one dataset is done here for m beside each other: with z = [x 1 y] of each, padded with zeros,
residual = z [W; b; -1] and gradient = zᵀ residual are two batched products, and optimisers and losses are elementwise.
Each dataset has the batches that it would have alone. A trial that diverges, or stops early, is no longer recorded; its
numbers reach no other.

Shapes: m datasets · g grid points · t = m g trials · r rows of a dataset, padded · b rows of a batch · e evaluated
epochs · p weights (the bias last) · q = p + 1 columns of z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.losses import Loss
from jobs.engines.minibatch.ragged import Batches
from jobs.engines.minibatch.schedules import learning_rate_factor
from jobs.engines.minibatch.tracking import Tracker
from jobs.engines.moments import Moments, mse
from jobs.engines.optimizers import RowwiseOptimizer
from jobs.engines.settings import TrainingSettings, evaluated_epochs, initial_weights


class Evaluator(Protocol):
    """Scores the weights of each dataset on a fixed set of its rows."""

    def loss(self, weight_mqg: Tensor, loss: Loss) -> Tensor:
        """Return the mean loss of weights in the units of training, above their row of -1, (m, g) float64."""


@dataclass(frozen=True)
class MomentsEvaluator:
    """Mean squared error from the cross-products of the rows, in the units of training."""

    moments: Moments

    def loss(self, weight_mqg: Tensor, loss: Loss) -> Tensor:
        weight_mgp = weight_mqg[:, :-1].double().mT
        return mse(self.moments, weight_mgp, bias=weight_mgp.shape[2] > self.moments.num_columns)


@dataclass(frozen=True)
class RowsEvaluator:
    """Any loss by a pass over the rows (m, r, q), of which those of zeros add nothing: their residual is 0."""

    z_mrq: Tensor
    size_m: Tensor

    def loss(self, weight_mqg: Tensor, loss: Loss) -> Tensor:
        residual_mrg = torch.bmm(self.z_mrq, weight_mqg)
        return loss.total(residual_mrg.transpose(0, 1)).double() / self.size_m[:, None]


@dataclass
class BucketStack:
    """The trials of a bucket; `weight_mqg` holds the weights above a row of -1, which takes the target off."""

    weight_mqg: Tensor
    optimizer: RowwiseOptimizer
    loss: Loss
    learning_rate_mpg: Tensor

    @property
    def weight_pt(self) -> Tensor:
        """The weights with the trials of all datasets in one axis; a copy."""
        return self.weight_mqg[:, :-1].permute(1, 0, 2).flatten(1)


def start(num_weights: int, hyperparameters: Hyperparameters, settings: TrainingSettings) -> BucketStack:
    """Return the bucket before the first step: every trial at the initial weights of `nn.Linear`."""
    rate_mg = hyperparameters.learning_rate_mg
    hyper = hyperparameters.to(torch.device("cpu"), settings.torch_dtype)
    weight_p = initial_weights(num_weights - settings.bias, settings.bias, settings.seed).to(settings.torch_dtype)
    weight_q = torch.cat([weight_p, weight_p.new_full((1,), -1.0)])
    # Optimisers broadcast what belongs to a grid point; laid out in full, they run through it without a stride.
    wide_g = {f"{name}_g": value_g.expand(num_weights, -1).contiguous() for name, value_g in hyper.others().items()}
    return BucketStack(
        weight_mqg=weight_q[:, None].expand(len(rate_mg), -1, rate_mg.shape[1]).contiguous(),
        optimizer=settings.new_optimizer(replace(hyper, **wide_g)),
        loss=settings.new_loss(hyper),
        learning_rate_mpg=hyper.learning_rate_mg[:, None].expand(-1, num_weights, -1).contiguous(),
    )


def fit(
    z_mrq: Tensor,
    batches: Batches,
    train_evaluator: Evaluator,
    val_evaluator: Evaluator | None,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    *,
    kept_index_t: Tensor | None = None,
    val_mse_evaluator: Evaluator | None = None,
) -> Tracker:
    """Return the record of the trials, trained on the rows of each dataset; see `minibatch.fit`."""
    stack = start(z_mrq.shape[2] - 1, hyperparameters, settings)
    shape = hyperparameters.learning_rate_mg.shape
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations).tolist()
    tracker = Tracker.start(shape.numel(), len(epochs_e), z_mrq.shape[2] - 1, settings, kept_index_t)
    live_t = torch.ones(shape.numel(), dtype=torch.bool)
    evaluation = 0
    for epoch in range(1, settings.epochs + 1):
        died_t = live_t & ~run_epoch(z_mrq, batches, stack, settings, epoch).flatten().isfinite()
        if bool(died_t.any()):
            tracker.diverged(died_t.nonzero()[:, 0], epoch)
            live_t &= ~died_t
        if epoch == epochs_e[evaluation]:
            place_l = live_t.nonzero()[:, 0]
            train_l = train_evaluator.loss(stack.weight_mqg, stack.loss).flatten()[place_l]
            val_l = val_evaluator.loss(stack.weight_mqg, stack.loss).flatten()[place_l] if val_evaluator else None
            if val_mse_evaluator is not None:
                val_mse_t = val_mse_evaluator.loss(stack.weight_mqg, stack.loss).flatten()
                tracker.val_mse_curve_ge[place_l, evaluation] = val_mse_t[place_l]
            going_l = tracker.record(evaluation, place_l, stack.weight_pt[:, place_l], train_l, val_l)
            live_t[place_l[~going_l]] = False
            evaluation += 1
        if not bool(live_t.any()):
            break
    return tracker


def run_epoch(z_mrq: Tensor, batches: Batches, stack: BucketStack, settings: TrainingSettings, epoch: int) -> Tensor:
    """Take the steps of an epoch (from 1); return the loss summed over its last batch, before its step, (m, g)."""
    factor = learning_rate_factor(settings.schedule, epoch - 1, settings.epochs)
    rate_mpg = stack.learning_rate_mpg if factor == 1 else stack.learning_rate_mpg * factor
    z_tq, loss = z_mrq.flatten(0, 1), stack.loss
    residual_mbg = z_mrq
    for number, place_mb in enumerate(batches.epoch(epoch)):
        z_mbq = z_mrq if place_mb is None else z_tq.index_select(0, place_mb.reshape(-1)).view(*place_mb.shape, -1)
        residual_mbg = torch.bmm(z_mbq, stack.weight_mqg)
        gradient_mqg = torch.bmm(z_mbq.mT, loss.derivative(residual_mbg))
        gradient_mqg *= (loss.derivative_scale / batches.num_rows(number).to(z_mrq.dtype))[:, None, None]
        stack.optimizer.step(stack.weight_mqg[:, :-1], gradient_mqg[:, :-1], rate_mpg)
    # The weights have moved since, the residuals have not.
    return loss.total(residual_mbg.transpose(0, 1))
