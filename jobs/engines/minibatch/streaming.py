"""The minibatch engine over rows that are read again in every epoch, as when they don't fit in memory.

The steps are those of `minibatch`; what differs is where batches come from. A stream is shuffled by blocks and within a
window of them, so that its batches are not those of the same rows in memory; a full batch is the same but for rounding.

Shapes: c rows of a chunk · m datasets (one) · q columns of z.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import engine
from jobs.engines.minibatch.evaluation import Evaluator, PiecesEvaluator
from jobs.engines.minibatch.fitting import Run
from jobs.engines.minibatch.loading import PIECE_ROWS, Loaded, Piece
from jobs.engines.moments import Moments
from jobs.engines.scaling import Scaling
from jobs.engines.settings import TrainingSettings


class Chunks(Protocol):
    """Rows that can be read as often as wanted."""

    @property
    def num_rows(self) -> int:
        """The number of rows of every reading."""

    @property
    def weighted(self) -> bool:
        """Whether rows are multiplied by factors, which stand in the column of ones."""

    def read(self, epoch: int | None) -> Iterator[Tensor]:
        """Yield z = [x 1 y] in the units and the precision of training, chunk by chunk, (c, q), valid until the next.

        In an order that the epoch determines; as the rows stand where it is None.
        """


class Stream(Protocol):
    """The rows of a dataset, from which those of a fit can be chosen."""

    def chunks(self, scaling: Scaling | None, rows: Moments, *, without: int | None, within: int | None) -> Chunks:
        """Return the rows outside a fold, or within one (None: all rows), to be scaled; `rows` are their moments."""


@dataclass(frozen=True)
class ChunkLoader:
    """The rows of chunks, batch by batch; they read ahead by themselves."""

    chunks: Chunks

    @property
    def num_total(self) -> int:
        return self.chunks.num_rows

    def batches(self, batch_size: int | None, seed: int, epoch: int, threads: int = 0) -> Iterator[Loaded]:
        """Yield the pieces of an epoch; see `PieceLoader`."""
        n = self.num_total
        full = batch_size is None or batch_size >= n
        size = n if full else batch_size or n
        return pieces_of(self.chunks.read(None if full else epoch), n, size, weighted=self.chunks.weighted)


@dataclass(frozen=True)
class StreamedRows:
    """The rows of a stream, the moments of all, and of each fold; see `block_training.Source`."""

    stream: Stream
    all_rows: Moments
    held_out: tuple[Moments, ...]

    def take(self, index_m: Tensor) -> StreamedRows:
        """Return the one dataset."""
        return self

    def start(
        self, fold: int | None, scaling: Scaling | None, hyperparameters: Hyperparameters, settings: TrainingSettings
    ) -> Run:
        """Return a fit to the rows outside a fold (None: all rows), which are read again in every epoch."""
        trained = self.all_rows if fold is None else self.all_rows.without(self.held_out[fold])
        chunks = self.stream.chunks(scaling, trained, without=fold, within=None)
        if scaling is not None:
            hyperparameters = scaling.hyperparameters(hyperparameters)
        stack = engine.start(self.all_rows.num_columns, hyperparameters, settings)
        loader = ChunkLoader(chunks)
        return Run(stack, partial(engine.run_epoch, loader, stack, settings), PiecesEvaluator(loader))

    def evaluator(self, fold: int, scaling: Scaling | None, settings: TrainingSettings) -> Evaluator:
        """Return what scores any loss on the rows of a fold."""
        chunks = self.stream.chunks(scaling, self.held_out[fold], without=None, within=fold)
        return PiecesEvaluator(ChunkLoader(chunks))


def pieces_of(chunks: Iterable[Tensor], num_rows: int, batch_size: int, *, weighted: bool = False) -> Iterator[Loaded]:
    """Yield the rows of chunks as pieces of batches; a batch may continue in the next chunk."""
    begin = 0
    for chunk_cq in chunks:
        at = 0
        while at < len(chunk_cq):
            opened = begin // batch_size * batch_size
            closed = min(opened + batch_size, num_rows)
            end = min(begin + len(chunk_cq) - at, begin + PIECE_ROWS, closed)
            last = closed == num_rows
            piece = Piece(begin, end, closed - opened, opens=begin == opened, closes=end == closed, last=last)
            yield Loaded(piece, chunk_cq[at : at + end - begin], weighted)
            begin, at = end, at + end - begin
