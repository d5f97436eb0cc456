"""The minibatch engine: any optimiser and loss, mini or full batch, every grid point in one wide linear layer.

The gradient of a linear model needs no graph: with z = [x 1 y], residual = z [W; b; -1], gradient = zᵀ residual. One
pair of matrix products a step serves every learning rate; where columns are few, one small product does (`hessians`).
A grid point that diverges, or stops early, leaves the stack; the others go on, and nothing about them changes.

Shapes: c rows of a piece · g grid points · p weights (the bias last) · q = p + 1 columns of z · w ≥ g columns of a
product.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.losses import Loss, SquaredError
from jobs.engines.minibatch.batches import Samples
from jobs.engines.minibatch.evaluation import Evaluator, PiecesEvaluator
from jobs.engines.minibatch.fitting import Run
from jobs.engines.minibatch.hessians import HessianLoader, Summed, hessians_pay
from jobs.engines.minibatch.loading import (
    PIECE_ROWS,
    Fetching,
    Loaded,
    Loader,
    PieceLoader,
    default_piece_rows,
    worth_keeping,
)
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.engines.optimizers import RowwiseOptimizer
from jobs.engines.settings import TrainingSettings, initial_weights
from jobs.engines.threads import num_threads
from jobs.errors import one_line

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

    def score(self, evaluator: Evaluator) -> Tensor:
        """Return the loss of each grid point, (g,) float64."""
        return evaluator.loss(self.weight_qw[None, :, : len(self.live_g)], self.loss)[0]

    def allocate_buffers(self) -> None:
        """Allocate the loss's temporaries, so that running out of memory shows before the first step."""
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


def prepare(
    samples: Samples, hyperparameters: Hyperparameters, settings: TrainingSettings, ranks: Ranks = SINGLE_PROCESS
) -> Run:
    """Return a fit of the grid to the samples (one dataset), before its first step.

    If the device has too little memory, the pieces have half as many rows, again and again.
    """
    evaluator = samples_evaluator(samples, settings, ranks)
    dtype, piece_rows = settings.torch_dtype, default_piece_rows(ranks.device)
    kept = worth_keeping(samples, dtype, settings.epochs, ranks.device)
    on_cpu = ranks.device.type == "cpu" and settings.loss == "mse"
    if on_cpu and hessians_pay(samples.num_columns + 1 + settings.bias, settings.batch_size, samples.num_total):
        stack = start(samples.num_columns, hyperparameters, settings, ranks)
        hessians = HessianLoader(samples, dtype, bias=settings.bias, kept=kept)
        return Run(stack, partial(run_epoch, hessians, stack, settings), evaluator)
    while True:
        try:
            stack = start(samples.num_columns, hyperparameters, settings, ranks, piece_rows)
            stack.allocate_buffers()
            options = {"bias": settings.bias, "kept": kept}
            loader = Loader(samples, dtype, **options, device=ranks.device, piece_rows=piece_rows)
            return Run(stack, partial(run_epoch, loader, stack, settings), evaluator)
        except torch.OutOfMemoryError as exc:
            if piece_rows <= FEWEST_ROWS:
                raise
            piece_rows, kept = piece_rows // 2, False
            message = "%s is out of memory: going on by %d rows at a time (%s)"
            logger.warning(message, ranks.device, piece_rows, one_line(exc))


def samples_evaluator(samples: Samples, settings: TrainingSettings, ranks: Ranks) -> PiecesEvaluator:
    """Return what scores any loss by a pass over the samples."""
    return PiecesEvaluator(Loader(samples, settings.torch_dtype, bias=settings.bias, device=ranks.device), ranks)


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


def run_epoch(loader: PieceLoader | HessianLoader, stack: Stack, settings: TrainingSettings, epoch: int) -> Tensor:
    """Take the steps of an epoch (from 1); return the loss summed over its last batch, before its step, (g,)."""
    learning_rate_g = stack.learning_rate_g * settings.schedule.at(epoch - 1, settings.epochs)
    total_g = torch.zeros_like(stack.learning_rate_g)
    weight_pg, gradient_pg = stack.weight_pg, stack.gradient_pg
    threads = _threads_a_step(loader, stack, settings.batch_size)
    pieces = loader.batches(settings.batch_size, settings.seed, epoch, torch.get_num_threads() - threads)
    with num_threads(threads):
        coming: Fetching[Loaded | Summed] = Fetching(pieces)
        for loaded in coming:
            add_gradient(loaded, stack, total_g if loaded.piece.last else None)
            if loaded.piece.closes:
                stack.reduce(stack.gradient_qw, coming.fetch)
                stack.optimizer.step(weight_pg, gradient_pg, learning_rate_g)
    return stack.ranks.total(total_g, "a loss").cpu()


def _threads_a_step(loader: PieceLoader | HessianLoader, stack: Stack, batch_size: int | None) -> int:
    """Return how many threads a step is worth: one, or all."""
    rows = min(stack.piece_rows, batch_size or loader.num_total, loader.num_total)
    small = 2 * rows * stack.weight_qw.numel() < ONE_THREAD_FLOPS
    return 1 if small or isinstance(loader, HessianLoader) else torch.get_num_threads()


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
    loss = stack.loss.of_rows(loaded.z_cq[:, -2:-1]) if loaded.weighted else stack.loss
    residual_cw, slope_cw = stack.views(len(loaded.z_cq))
    torch.mm(loaded.z_cq, weight_qw, out=residual_cw)
    if total_g is not None:
        total_g += loss.total(residual_cw[:, :g])
    if stack.slope_cw is not stack.residual_cw:
        slope_cw[:, :g] = loss.derivative(residual_cw[:, :g])
    beta = 0 if piece.opens else 1
    torch.addmm(gradient_qw, loaded.z_cq.T, slope_cw, beta=beta, alpha=scale, out=gradient_qw)
