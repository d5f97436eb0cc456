"""The minibatch engine over rows that are read again in every epoch, as when they don't fit in memory.

The steps are those of `minibatch`; what differs is where batches come from. A stream is shuffled by blocks and within a
window of them, so that its batches are not those of the same rows in memory; a full batch is the same but for rounding.

Shapes: c rows of a chunk · g grid points · e evaluated epochs · p weights (the bias last) · q = p + 1 columns of z.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.losses import Loss
from jobs.engines.minibatch.engine import ONE_THREAD_FLOPS, Stack, add_gradient, start
from jobs.engines.minibatch.evaluation import Evaluator
from jobs.engines.minibatch.loading import PIECE_ROWS, Loaded, Piece
from jobs.engines.minibatch.schedules import learning_rate_factor
from jobs.engines.minibatch.tracking import Tracker
from jobs.engines.moments import Scaling
from jobs.engines.settings import TrainingSettings, evaluated_epochs
from jobs.engines.threads import num_threads


class Chunks(Protocol):
    """Rows that can be read as often as wanted."""

    @property
    def num_rows(self) -> int:
        """The number of rows of every reading."""

    def read(self, epoch: int | None) -> Iterator[Tensor]:
        """Yield z = [x 1 y] in the units and the precision of training, chunk by chunk, (c, q), valid until the next.

        In an order that the epoch determines; as the rows stand where it is None.
        """


class Stream(Protocol):
    """The rows of a dataset, from which those of a fit can be chosen."""

    def chunks(self, scaling: Scaling | None, num_rows: int, *, without: int | None, within: int | None) -> Chunks:
        """Return the rows outside a part, or those within one (None: all rows), to be scaled."""


@dataclass(frozen=True)
class ChunksEvaluator:
    """Any loss by reading the rows once: a piece is summed in the precision of training, all in float64."""

    chunks: Chunks

    def loss(self, weight_pg: Tensor, loss: Loss) -> Tensor:
        weight_qg = torch.cat([weight_pg, weight_pg.new_full((1, weight_pg.shape[1]), -1.0)])
        total_g = torch.zeros(weight_pg.shape[1], dtype=torch.float64)
        for chunk_cq in self.chunks.read(None):
            for start_row in range(0, len(chunk_cq), PIECE_ROWS):
                total_g += loss.total(chunk_cq[start_row : start_row + PIECE_ROWS] @ weight_qg).double()
        return total_g / self.chunks.num_rows


def fit(
    chunks: Chunks,
    num_columns: int,
    train_evaluator: Evaluator,
    val_evaluator: Evaluator | None,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    *,
    kept_index_g: Tensor | None = None,
    val_mse_evaluator: Evaluator | None = None,
) -> Tracker:
    """Return the record of the grid, trained on the chunks; see `minibatch.fit`."""
    stack = start(num_columns, hyperparameters, settings)
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations).tolist()
    tracker = Tracker.start(hyperparameters.num_points, len(epochs_e), stack.weight_pg.shape[0], settings, kept_index_g)
    evaluation = 0
    for epoch in range(1, settings.epochs + 1):
        finite_g = run_epoch(chunks, stack, settings, epoch).isfinite()
        if not bool(finite_g.all()):
            tracker.diverged(stack.live_g[~finite_g], epoch)
            stack.take(finite_g.nonzero()[:, 0])
        if epoch == epochs_e[evaluation] and len(stack.live_g) > 0:
            train_g = train_evaluator.loss(stack.weight_pg, stack.loss)
            val_g = val_evaluator.loss(stack.weight_pg, stack.loss) if val_evaluator else None
            if val_mse_evaluator is not None:
                val_mse_g = val_mse_evaluator.loss(stack.weight_pg, stack.loss)
                tracker.val_mse_curve_ge[stack.live_g, evaluation] = val_mse_g
            going_g = tracker.record(evaluation, stack.live_g, stack.weight_pg, train_g, val_g)
            if not bool(going_g.all()):
                stack.take(going_g.nonzero()[:, 0])
            evaluation += 1
        if len(stack.live_g) == 0:
            break
    return tracker


def run_epoch(chunks: Chunks, stack: Stack, settings: TrainingSettings, epoch: int) -> Tensor:
    """Take the steps of an epoch (from 1); return the loss summed over its last batch, before its step, (g,)."""
    rate_g = stack.learning_rate_g * learning_rate_factor(settings.schedule, epoch - 1, settings.epochs)
    n = chunks.num_rows
    batch_size = min(settings.batch_size or n, n)
    last = (n - 1) // batch_size * batch_size
    total_g = torch.zeros_like(stack.learning_rate_g)
    weight_pg, gradient_pg = stack.weight_pg, stack.gradient_pg
    small = 2 * min(PIECE_ROWS, batch_size) * stack.weight_qw.numel() < ONE_THREAD_FLOPS
    with num_threads(1 if small else torch.get_num_threads()):
        for loaded in pieces_of(chunks.read(epoch if batch_size < n else None), n, batch_size):
            add_gradient(loaded, stack, total_g if loaded.piece.begin >= last else None)
            if loaded.piece.closes:
                stack.optimizer.step(weight_pg, gradient_pg, rate_g)
    return total_g


def pieces_of(chunks: Iterable[Tensor], num_rows: int, batch_size: int) -> Iterator[Loaded]:
    """Yield the rows of chunks as pieces of batches; a batch goes on from one chunk to the next."""
    begin = 0
    for chunk_cq in chunks:
        at = 0
        while at < len(chunk_cq):
            opened = begin // batch_size * batch_size
            closed = min(opened + batch_size, num_rows)
            end = min(begin + len(chunk_cq) - at, begin + PIECE_ROWS, closed)
            piece = Piece(begin, end, closed - opened, opens=begin == opened, closes=end == closed)
            yield Loaded(piece, chunk_cq[at : at + end - begin])
            begin, at = end, at + end - begin
