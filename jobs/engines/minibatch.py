"""The minibatch engine: any optimiser and loss, mini or full batch, every grid point in one wide linear layer.

The gradient of a linear model needs no graph: residual = X W + b - y, gradient = Xᵀ residual. One pair of matrix
products a step serves every learning rate. A grid point that diverges, or stops early, leaves the stack; the others go
on, and nothing about them changes.

Shapes: n rows · b rows of a batch · d columns · g grid points · e evaluated epochs · p weights (the bias last).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.batches import Samples, batches
from jobs.engines.evaluation import Evaluator, residual
from jobs.engines.losses import Loss
from jobs.engines.rowwise_optimizers import RowwiseOptimizer, rowwise_optimizer
from jobs.engines.schedules import learning_rate_factor
from jobs.engines.settings import TrainingSettings, evaluated_epochs, initial_weights
from jobs.engines.tracking import Tracker
from jobs.trials import Hyperparameters

CHUNK_ROWS = 4096  # a batch is worked off in chunks whose residuals stay in cache


@dataclass
class Stack:
    """The grid points still in training: `live_g` are their places in the grid."""

    live_g: Tensor
    weight_pg: Tensor
    optimizer: RowwiseOptimizer
    loss: Loss
    learning_rate_g: Tensor

    def take(self, keep_g: Tensor) -> None:
        """Go on with the grid points at `keep_g` (places among those still in training)."""
        self.live_g = self.live_g[keep_g]
        self.weight_pg = self.weight_pg[:, keep_g].contiguous()
        self.optimizer.take(keep_g)
        self.loss = self.loss.take(keep_g)
        self.learning_rate_g = self.learning_rate_g[keep_g]


@dataclass(frozen=True)
class Fit:
    """The outcome of one fit: weights of the kept and of the last epoch, float64, in the units of training; curves."""

    weight_pg: Tensor
    last_weight_pg: Tensor
    kept_index_g: Tensor
    diverged_at_g: Tensor
    stopped_g: Tensor
    train_curve_ge: Tensor
    val_curve_ge: Tensor


def fit(
    samples: Samples,
    train_evaluator: Evaluator,
    val_evaluator: Evaluator | None,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    *,
    kept_index_g: Tensor | None = None,
) -> Fit:
    """Return the grid trained on the samples (one dataset).

    Each evaluated epoch is scored on the training rows, and on the validation rows where there are any; the best epoch
    by the latter, else by the former, is kept, or the one at `kept_index_g` where it is given.
    """
    stack = start(samples.x_nd.shape[1], hyperparameters, settings, samples.x_nd.device)
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations).tolist()
    tracker = Tracker.start(hyperparameters.num_points, len(epochs_e), stack.weight_pg.shape[0], settings, kept_index_g)
    evaluation = 0
    for epoch in range(1, settings.epochs + 1):
        total_g = run_epoch(samples, stack, settings, epoch)
        if not bool(torch.isfinite(total_g.sum())):
            finite_g = torch.isfinite(total_g)
            tracker.diverged(stack.live_g[~finite_g], epoch)
            stack.take(finite_g.nonzero()[:, 0])
        if epoch == epochs_e[evaluation]:
            train_g = train_evaluator.loss(stack.weight_pg, stack.loss)
            val_g = val_evaluator.loss(stack.weight_pg, stack.loss) if val_evaluator else None
            going_g = tracker.record(evaluation, stack.live_g, stack.weight_pg, train_g, val_g)
            if not bool(going_g.all()):
                stack.take(going_g.nonzero()[:, 0])
            evaluation += 1
        if len(stack.live_g) == 0:
            break
    return Fit(
        weight_pg=tracker.weight_pg,
        last_weight_pg=tracker.last_weight_pg,
        kept_index_g=tracker.kept_index_g,
        diverged_at_g=tracker.diverged_at_g,
        stopped_g=tracker.stopped_g,
        train_curve_ge=tracker.train_curve_ge,
        val_curve_ge=tracker.val_curve_ge,
    )


def start(
    num_columns: int, hyperparameters: Hyperparameters, settings: TrainingSettings, device: torch.device
) -> Stack:
    """Return the stack before the first step: every grid point at the initial weights of `nn.Linear`."""
    g = hyperparameters.num_points
    hyperparameters = hyperparameters.to(device, settings.torch_dtype)
    weight_p = initial_weights(num_columns, settings.bias, settings.seed).to(settings.torch_dtype).to(device)
    return Stack(
        live_g=torch.arange(g),
        weight_pg=weight_p[:, None].repeat(1, g),
        optimizer=rowwise_optimizer(settings, hyperparameters),
        loss=Loss(settings.loss, hyperparameters.huber_delta_g, hyperparameters.quantile_g),
        learning_rate_g=hyperparameters.learning_rate_mg[0],
    )


def run_epoch(samples: Samples, stack: Stack, settings: TrainingSettings, epoch: int) -> Tensor:
    """Take the steps of an epoch (from 1); return the loss summed over its last batch, before its step, (g,)."""
    learning_rate_g = stack.learning_rate_g * learning_rate_factor(settings.schedule, epoch - 1, settings.epochs)
    gradient_pg = torch.empty_like(stack.weight_pg)
    n = samples.num_rows
    num_batches = 1 if settings.batch_size is None else -(-n // settings.batch_size)
    total_g = torch.zeros_like(stack.learning_rate_g)
    for number, batch in enumerate(batches(samples, settings.batch_size, settings.seed, epoch), start=1):
        total_g = batch_gradient(batch, stack, gradient_pg, want_total=number == num_batches)
        gradient_pg.mul_(stack.loss.derivative_scale / batch.num_rows)
        stack.optimizer.step(stack.weight_pg, gradient_pg, learning_rate_g)
    return total_g


def batch_gradient(batch: Samples, stack: Stack, gradient_pg: Tensor, want_total: bool) -> Tensor:
    """Write the gradient of the summed loss over `derivative_scale` into `gradient_pg`; return the sum if wanted."""
    d = batch.x_nd.shape[1]
    total_g = torch.zeros_like(stack.learning_rate_g)
    for begin in range(0, batch.num_rows, CHUNK_ROWS):
        x_cd, y_c = batch.x_nd[begin : begin + CHUNK_ROWS], batch.y_n[begin : begin + CHUNK_ROWS]
        residual_cg = residual(x_cd, y_c, stack.weight_pg)
        if want_total:
            total_g = total_g + stack.loss.total(residual_cg)
        slope_cg = stack.loss.derivative(residual_cg)
        if begin == 0:
            torch.mm(x_cd.T, slope_cg, out=gradient_pg[:d])
        else:
            gradient_pg[:d].addmm_(x_cd.T, slope_cg)
        if gradient_pg.shape[0] > d:
            column_g = slope_cg.sum(0)
            gradient_pg[d] = column_g if begin == 0 else gradient_pg[d] + column_g
    return total_g
