"""The minibatch engine: any optimiser and loss, mini or full batch, every grid point in one wide linear layer.

The gradient of a linear model needs no graph: with z = [x 1 y], residual = z [W; b; -1], gradient = zᵀ residual. One
pair of matrix products a step serves every learning rate; where columns are few, one small product does (`hessians`).
A grid point that diverges, or stops early, leaves the stack; the others go on, and nothing about them changes.

Shapes: n rows · c rows of a piece of a batch · d columns · g grid points · e evaluated epochs · p weights (the bias
last) · q = p + 1 columns of z · w ≥ g columns of a product.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.losses import Loss, SquaredError
from jobs.engines.minibatch.batches import EpochPlan, Samples, plan_epoch
from jobs.engines.minibatch.checkpointing import Checkpoint, restore, state_of
from jobs.engines.minibatch.evaluation import Evaluator
from jobs.engines.minibatch.hessians import HessianLoader, Summed, hessians_pay
from jobs.engines.minibatch.loading import PIECE_ROWS, Fetching, Loaded, Loader, default_piece_rows, worth_keeping
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.engines.minibatch.schedules import learning_rate_factor
from jobs.engines.minibatch.tracking import Tracker
from jobs.engines.optimizers import RowwiseOptimizer
from jobs.engines.settings import TrainingSettings, evaluated_epochs, initial_weights
from jobs.engines.threads import num_threads

logger = logging.getLogger(__name__)

ONE_THREAD_FLOPS = 2e7  # of a product: below, a second thread costs more than it takes
FEWEST_ROWS = 512  # of a piece, where memory is short


@dataclass
class Stack:
    """The grid points still in training: `live_g` are their places in the grid.

    `weight_qw` holds the weights above a row of -1, which takes the target from the prediction. Its columns beyond the
    grid points are there for speed alone.
    """

    live_g: Tensor
    weight_qw: Tensor
    optimizer: RowwiseOptimizer
    loss: Loss
    learning_rate_g: Tensor
    ranks: Ranks = SINGLE_PROCESS
    piece_rows: int = PIECE_ROWS

    def __post_init__(self) -> None:
        self.reduce = self.ranks.reducer(self.weight_qw)
        self.gradient_qw = torch.empty_like(self.weight_qw)
        self.residual_cw = self.weight_qw.new_zeros(self.piece_rows, self.weight_qw.shape[1])
        self.slope_cw = self.residual_cw if isinstance(self.loss, SquaredError) else torch.zeros_like(self.residual_cw)
        self._views = self.residual_cw, self.slope_cw

    @property
    def weight_pg(self) -> Tensor:
        """The weights, the bias last; a view."""
        return self.weight_qw[:-1, : len(self.live_g)]

    @property
    def gradient_pg(self) -> Tensor:
        """The gradient of the batch, after its last piece; a view."""
        return self.gradient_qw[:-1, : len(self.live_g)]

    def views(self, num_rows: int) -> tuple[Tensor, Tensor]:
        """Return the room for residuals and slopes of a piece; most pieces are of one size, and a view costs time."""
        if len(self._views[0]) != num_rows:
            self._views = self.residual_cw[:num_rows], self.slope_cw[:num_rows]
        return self._views

    def allocate_buffers(self) -> None:
        """Take the memory that the loss will want."""
        residual_cg = self.residual_cw[:, : len(self.live_g)]
        self.loss.derivative(residual_cg)
        self.loss.total(residual_cg)

    def take(self, keep_g: Tensor) -> None:
        """Go on with the grid points at `keep_g` (places among those still in training)."""
        self.live_g = self.live_g[keep_g]
        self.weight_qw = padded(self.weight_qw[:, keep_g])
        self.optimizer.take(keep_g)
        self.loss = self.loss.take(keep_g)
        self.learning_rate_g = self.learning_rate_g[keep_g]
        self.__post_init__()


def padded(weight_qg: Tensor) -> Tensor:
    """Return the weights with columns of zeros up to a multiple of 16: products of 16 take less time than of 8."""
    g = weight_qg.shape[1]
    return torch.nn.functional.pad(weight_qg, (0, -g % 16 if g > 4 else 0))


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
    val_mse_curve_ge: Tensor


def fit(
    samples: Samples,
    train_evaluator: Evaluator,
    val_evaluator: Evaluator | None,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    *,
    kept_index_g: Tensor | None = None,
    val_mse_evaluator: Evaluator | None = None,
    checkpoint: Checkpoint | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> Fit:
    """Return the grid trained on the samples (one dataset).

    Each evaluated epoch is scored on the training rows, and on the validation rows where there are any; the best epoch
    by the latter, else by the former, is kept, or the one at `kept_index_g` where it is given.
    `val_mse_evaluator` gives the squared error of each evaluated epoch beside a loss that is another. The fit goes on
    from what `checkpoint` holds, and is saved there whenever that is due.
    """
    loader, stack = allocate(samples, hyperparameters, settings, ranks)
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations).tolist()
    tracker = Tracker.start(hyperparameters.num_points, len(epochs_e), stack.weight_pg.shape[0], settings, kept_index_g)
    saved = checkpoint.load() if checkpoint else None
    epoch, evaluation = restore(saved, stack, tracker) if saved else (0, 0)
    while epoch < settings.epochs and len(stack.live_g) > 0:
        epoch += 1
        total_g = run_epoch(loader, stack, settings, epoch)
        if not bool(torch.isfinite(total_g.sum())):
            finite_g = torch.isfinite(total_g)
            tracker.diverged(stack.live_g[~finite_g], epoch)
            stack.take(finite_g.nonzero()[:, 0])
        if epoch == epochs_e[evaluation]:
            train_g = train_evaluator.loss(stack.weight_pg, stack.loss)
            val_g = val_evaluator.loss(stack.weight_pg, stack.loss) if val_evaluator else None
            if val_mse_evaluator is not None:
                val_mse_g = val_mse_evaluator.loss(stack.weight_pg, stack.loss)
                tracker.val_mse_curve_ge[stack.live_g, evaluation] = val_mse_g
            going_g = tracker.record(evaluation, stack.live_g, stack.weight_pg, train_g, val_g)
            if not bool(going_g.all()):
                stack.take(going_g.nonzero()[:, 0])
            evaluation += 1
        if checkpoint is not None and checkpoint.due():
            checkpoint.save(state_of(stack, tracker, epoch, evaluation))
    if checkpoint is not None:
        checkpoint.save(state_of(stack, tracker, epoch, evaluation), send=False)
    return Fit(
        weight_pg=tracker.weight_pg,
        last_weight_pg=tracker.last_weight_pg,
        kept_index_g=tracker.kept_index_g,
        diverged_at_g=tracker.diverged_at_g,
        stopped_g=tracker.stopped_g,
        train_curve_ge=tracker.train_curve_ge,
        val_curve_ge=tracker.val_curve_ge,
        val_mse_curve_ge=tracker.val_mse_curve_ge,
    )


def allocate(
    samples: Samples, hyperparameters: Hyperparameters, settings: TrainingSettings, ranks: Ranks
) -> tuple[Loader | HessianLoader, Stack]:
    """Return what a fit works on; where a GPU has too little memory for it, with pieces of half as many rows."""
    dtype, piece_rows = settings.torch_dtype, default_piece_rows(ranks.device)
    kept = worth_keeping(samples, dtype, settings.epochs, ranks.device)
    on_cpu = ranks.device.type == "cpu" and settings.loss == "mse"
    if on_cpu and hessians_pay(samples.num_columns + 1 + settings.bias, settings.batch_size, samples.num_total):
        stack = start(samples.num_columns, hyperparameters, settings, ranks)
        return HessianLoader(samples, dtype, bias=settings.bias, kept=kept), stack
    while True:
        try:
            stack = start(samples.num_columns, hyperparameters, settings, ranks, piece_rows)
            stack.allocate_buffers()
            options = {"bias": settings.bias, "kept": kept}
            return Loader(samples, dtype, **options, device=ranks.device, piece_rows=piece_rows), stack
        except torch.OutOfMemoryError as exc:
            if piece_rows <= FEWEST_ROWS:
                raise
            piece_rows, kept = piece_rows // 2, False
            reason = " ".join(str(exc).split())
            logger.warning("%s is out of memory: going on by %d rows at a time (%s)", ranks.device, piece_rows, reason)


def start(
    num_columns: int,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    ranks: Ranks = SINGLE_PROCESS,
    piece_rows: int = PIECE_ROWS,
) -> Stack:
    """Return the stack before the first step: every grid point at the initial weights of `nn.Linear`."""
    g = hyperparameters.num_points
    device = ranks.device
    hyperparameters = hyperparameters.to(device, settings.torch_dtype)
    weight_p = initial_weights(num_columns, settings.bias, settings.seed).to(settings.torch_dtype).to(device)
    weight_q = torch.cat([weight_p, weight_p.new_full((1,), -1.0)])
    return Stack(
        live_g=torch.arange(g),
        weight_qw=padded(weight_q[:, None].repeat(1, g)),
        optimizer=settings.new_optimizer(hyperparameters),
        loss=settings.new_loss(hyperparameters),
        learning_rate_g=hyperparameters.learning_rate_mg[0],
        ranks=ranks,
        piece_rows=piece_rows,
    )


def run_epoch(loader: Loader | HessianLoader, stack: Stack, settings: TrainingSettings, epoch: int) -> Tensor:
    """Take the steps of an epoch (from 1); return the loss summed over its last batch, before its step, (g,)."""
    learning_rate_g = stack.learning_rate_g * learning_rate_factor(settings.schedule, epoch - 1, settings.epochs)
    plan = plan_epoch(loader.samples, settings.batch_size, settings.seed, epoch)
    last = plan.bounds[-2]
    total_g = torch.zeros_like(stack.learning_rate_g)
    weight_pg, gradient_pg = stack.weight_pg, stack.gradient_pg
    threads, batches = _batches(loader, plan, stack)
    with num_threads(threads):
        coming: Fetching[Loaded | Summed] = Fetching(batches)
        for loaded in coming:
            add_gradient(loaded, stack, total_g if loaded.piece.begin >= last else None)
            if loaded.piece.closes:
                stack.reduce(stack.gradient_qw, coming.fetch)
                stack.optimizer.step(weight_pg, gradient_pg, learning_rate_g)
    return stack.ranks.total(total_g, "a loss").cpu()


def _batches(
    loader: Loader | HessianLoader, plan: EpochPlan, stack: Stack
) -> tuple[int, Iterator[Loaded] | Iterator[Summed]]:
    """Return how many threads a step is worth, and the pieces of an epoch: loaded beside it where there are more."""
    threads = torch.get_num_threads()
    large = loader.samples.num_rows > loader.load_rows
    if isinstance(loader, HessianLoader):
        return 1, loader.epoch(plan, threads - 1 if large else 0)
    small = 2 * min(loader.piece_rows, max(plan.batch_rows)) * stack.weight_qw.numel() < ONE_THREAD_FLOPS
    return 1 if small else threads, loader.epoch(plan, ahead=small and large and threads > 1)


def add_gradient(loaded: Loaded | Summed, stack: Stack, total_g: Tensor | None = None) -> None:
    """Add a piece's share to the gradient of the batch's mean loss, and its loss to `total_g`."""
    piece, weight_qw, gradient_qw = loaded.piece, stack.weight_qw, stack.gradient_qw
    if isinstance(loaded, Summed):
        if piece.opens:
            torch.mm(loaded.hessian_qq, weight_qw, out=gradient_qw)
        else:
            torch.addmm(gradient_qw, loaded.hessian_qq, weight_qw, out=gradient_qw)
        if total_g is not None:
            loss_w = (weight_qw * (loaded.hessian_qq @ weight_qw)).sum(0) * (piece.batch_rows / 2)
            total_g += loss_w[: len(total_g)]
        return
    g, scale = len(stack.live_g), stack.loss.derivative_scale / piece.batch_rows
    residual_cw, slope_cw = stack.views(len(loaded.z_cq))
    torch.mm(loaded.z_cq, weight_qw, out=residual_cw)
    if total_g is not None:
        total_g += stack.loss.total(residual_cw[:, :g])
    if stack.slope_cw is not stack.residual_cw:
        slope_cw[:, :g] = stack.loss.derivative(residual_cw[:, :g])
    beta = 0 if piece.opens else 1
    torch.addmm(gradient_qw, loaded.z_cq.T, slope_cw, beta=beta, alpha=scale, out=gradient_qw)
