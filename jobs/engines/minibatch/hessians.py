"""Batches by their Hessians, which a step on squared error needs instead of rows.

With z = [x 1 y] and W = [W; b; -1] the gradient of a batch of b rows is H W, where H = (2/b) zᵀz does not depend on the
weights. So the Hessians of the next batches are computed beside the steps, by as many threads as are free; a step is
then one product of q × q, for any batch size. That pays if columns are few. The choice depends on the columns and the
batch alone, so that a grid point's arithmetic is the same in every grid.

Shapes: c rows of a chunk · j batches · b rows of a batch · d columns · y columns of z beside x: 1 (the target), or 2
with the ones · q columns of z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby

import torch
from torch import Tensor

from jobs.engines.minibatch.batches import EpochBatches, Samples, epoch_batches
from jobs.engines.minibatch.loading import PIECE_ROWS, Piece, loads_of, pieces_of
from jobs.engines.threads import map_ahead

MOST_COLUMNS = 48  # of z; a product of more takes longer than the two of a step do
ROWS_A_COLUMN = 2  # of a batch, at least: below, H is hardly smaller than z
MOST_THREADS = 7  # beside the caller; more would wait for memory
LOAD_ROWS = 8 * PIECE_ROWS  # fewer are slower for what Python does between them


def hessians_pay(num_q: int, batch_size: int | None, num_rows: int) -> bool:
    """Return whether steps take the Hessians of their batches; a full batch never does."""
    if batch_size is None or batch_size >= num_rows:
        return False
    return num_q <= MOST_COLUMNS and batch_size >= ROWS_A_COLUMN * num_q


@dataclass(frozen=True, slots=True)
class Summed:
    """A piece of a batch by its share of the batch's Hessian."""

    piece: Piece
    hessian_qq: Tensor


Buffers = tuple[Tensor, Tensor]  # for the rows of a load: x, and the target below a row of ones for the bias


class HessianLoader:
    """Makes the Hessians of the batches of samples; `kept` says that rows are converted once."""

    def __init__(self, samples: Samples, dtype: torch.dtype, *, bias: bool, kept: bool = False) -> None:
        self.num_total = samples.num_total  # the rows of all ranks
        self.samples = samples.converted(dtype) if kept else samples
        self._dtype = dtype
        self._num_y = 1 + bias

    def batches(self, batch_size: int | None, seed: int, epoch: int, threads: int = 0) -> Iterator[Summed]:
        """Yield the pieces of an epoch; up to `threads` make the next beside the caller, if there are many rows."""
        batches = epoch_batches(self.samples, batch_size, seed, epoch)
        return self.epoch(batches, threads if self.samples.num_rows > LOAD_ROWS else 0)

    def epoch(self, batches: EpochBatches, threads: int = 0) -> Iterator[Summed]:
        """Yield the pieces of an epoch; the next are made beside the caller, by a number of threads."""
        loads = loads_of(pieces_of(batches), LOAD_ROWS)
        threads = min(threads, MOST_THREADS)
        depth = threads + 1 if threads else 0
        c, d = min(LOAD_ROWS, self.samples.num_rows), self.samples.num_columns
        buffers = [
            (torch.empty(c, d, dtype=self._dtype), torch.ones(self._num_y, c, dtype=self._dtype))
            for _ in range(depth + 1)
        ]

        def load(item: tuple[Sequence[Piece], Buffers]) -> list[Summed]:
            return self._load(batches, *item)

        for summed in map_ahead(load, zip(loads, cycle(buffers), strict=False), threads, depth, "hessians"):
            yield from summed

    def _load(self, batches: EpochBatches, pieces: Sequence[Piece], buffers: Buffers) -> list[Summed]:
        begin, end = pieces[0].begin, pieces[-1].end
        places = slice(begin, end) if batches.order_n is None else batches.order_n[begin:end]
        x_cd, side_yc = buffers[0][: end - begin], buffers[1][:, : end - begin]
        self.samples.write(places, x_cd, side_yc[-1])
        factor_c = self.samples.factors(places)
        if factor_c is not None:
            side_yc[:-1] = 1.0
            side_yc *= factor_c
            x_cd *= factor_c[:, None]
        return [
            Summed(piece, hessian_qq)
            for _, alike in groupby(pieces, lambda piece: (piece.end - piece.begin, piece.batch_rows))
            for run in [list(alike)]
            for piece, hessian_qq in zip(run, _hessians(run, x_cd, side_yc, begin).unbind(), strict=True)
        ]


def _hessians(run: Sequence[Piece], x_cd: Tensor, side_yc: Tensor, begin: int) -> Tensor:
    j, b = len(run), run[0].end - run[0].begin
    rows = slice(run[0].begin - begin, run[-1].end - begin)
    x_jbd = x_cd[rows].view(j, b, x_cd.shape[1])
    side_jyb = side_yc[:, rows].view(len(side_yc), j, b).transpose(0, 1)
    return cross_products(x_jbd, side_jyb).mul_(2 / run[0].batch_rows)


def cross_products(x_jbd: Tensor, side_jyb: Tensor) -> Tensor:
    """Return zᵀz of z = [x sideᵀ] for each of j pieces, (j, q, q). Columns of x alone multiply faster than all of z."""
    j, _, d = x_jbd.shape
    q = d + side_jyb.shape[1]
    product_jqq = x_jbd.new_empty(j, q, q)
    product_jqq[:, :d, :d] = x_jbd.mT @ x_jbd
    cross_jyd = side_jyb @ x_jbd
    product_jqq[:, d:, :d] = cross_jyd
    product_jqq[:, :d, d:] = cross_jyd.mT
    product_jqq[:, d:, d:] = side_jyb @ side_jyb.mT
    return product_jqq
