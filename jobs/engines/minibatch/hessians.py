"""Batches by their Hessians: all that a step on squared error asks of its rows.

With z = [x 1 y] and W = [W; b; -1] the gradient of a batch of b rows is H W, where H = (2/b) zᵀz does not depend on the
weights. So the Hessians of the next batches are made beside the steps, in as many threads as there are; a step is then
one product of q × q, whatever the batch. That pays where columns are few; which way is taken depends on the columns and
the batch alone, so that a grid point's arithmetic is the same in every grid.

Shapes: c rows of a load · k pieces of b rows each · d columns · u = 1 (the target), or 2 where a row of ones for the
bias is before it · q = d + u.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby

import torch
from torch import Tensor

from jobs.engines.minibatch.batches import EpochPlan, Samples, plan_epoch
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


@dataclass(frozen=True)
class _Room:
    """Where the rows of a load are gathered; the ones above the target are written once."""

    x_cd: Tensor
    side_uc: Tensor


class HessianLoader:
    """Makes the Hessians of the batches of samples; `kept` says that rows are converted once."""

    def __init__(self, samples: Samples, dtype: torch.dtype, *, bias: bool, kept: bool = False) -> None:
        self.num_total = samples.num_total  # the rows of all ranks
        self.samples = samples.converted(dtype) if kept else samples
        self._dtype = dtype
        self._num_u = 1 + bias

    def batches(self, batch_size: int | None, seed: int, epoch: int, threads: int = 0) -> Iterator[Summed]:
        """Yield the pieces of an epoch; up to `threads` make the next beside the caller, if there are many rows."""
        plan = plan_epoch(self.samples, batch_size, seed, epoch)
        return self.epoch(plan, threads if self.samples.num_rows > LOAD_ROWS else 0)

    def epoch(self, plan: EpochPlan, threads: int = 0) -> Iterator[Summed]:
        """Yield the pieces of an epoch; the next are made beside the caller, by a number of threads."""
        loads = loads_of(pieces_of(plan), LOAD_ROWS)
        threads = min(threads, MOST_THREADS)
        depth = threads + 1 if threads else 0
        rooms = [self._room() for _ in range(depth + 1)]

        def load(item: tuple[Sequence[Piece], _Room]) -> list[Summed]:
            return self._load(plan, *item)

        for summed in map_ahead(load, zip(loads, cycle(rooms), strict=False), threads, depth, "hessians"):
            yield from summed

    def _room(self) -> _Room:
        c = min(LOAD_ROWS, self.samples.num_rows)
        x_cd = torch.empty(c, self.samples.num_columns, dtype=self._dtype)
        return _Room(x_cd, torch.ones(self._num_u, c, dtype=self._dtype))

    def _load(self, plan: EpochPlan, pieces: Sequence[Piece], room: _Room) -> list[Summed]:
        begin, end = pieces[0].begin, pieces[-1].end
        places = slice(begin, end) if plan.order_n is None else plan.order_n[begin:end]
        x_cd, side_uc = room.x_cd[: end - begin], room.side_uc[:, : end - begin]
        self.samples.write(places, x_cd, side_uc[-1])
        return [
            Summed(piece, hessian_qq)
            for run in _alike(pieces)
            for piece, hessian_qq in zip(run, _hessians(run, x_cd, side_uc, begin).unbind(), strict=True)
        ]


def _alike(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces in runs of one size, of batches of one size."""
    for _, run in groupby(pieces, lambda piece: (piece.end - piece.begin, piece.batch_rows)):
        yield list(run)


def _hessians(run: Sequence[Piece], x_cd: Tensor, side_uc: Tensor, begin: int) -> Tensor:
    k, b = len(run), run[0].end - run[0].begin
    rows = slice(run[0].begin - begin, run[-1].end - begin)
    x_kbd = x_cd[rows].view(k, b, x_cd.shape[1])
    side_kub = side_uc[:, rows].view(len(side_uc), k, b).transpose(0, 1)
    return cross_products(x_kbd, side_kub).mul_(2 / run[0].batch_rows)


def cross_products(x_kbd: Tensor, side_kub: Tensor) -> Tensor:
    """Return zᵀz of z = [x sideᵀ] for each of k pieces, (k, q, q). Columns of x alone multiply faster than all of z."""
    k, _, d = x_kbd.shape
    q = d + side_kub.shape[1]
    product_kqq = x_kbd.new_empty(k, q, q)
    product_kqq[:, :d, :d] = x_kbd.mT @ x_kbd
    cross_kud = side_kub @ x_kbd
    product_kqq[:, d:, :d] = cross_kud
    product_kqq[:, :d, d:] = cross_kud.mT
    product_kqq[:, d:, d:] = side_kub @ side_kub.mT
    return product_kqq
