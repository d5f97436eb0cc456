"""From rows to what a step multiplies: z = [x 1 y], in the precision of training, a piece at a time.

With [W; b; -1] below it, z times the weights is the residual, and zᵀ times the slope the gradient: neither the bias
nor the target costs a pass of its own. Nothing of the size of the data is copied, unless it is small, or stepped over
often enough. The next pieces are loaded while a step is taken, where there is a thread for it.

Shapes: n rows · c rows of a piece · d columns · q = d + 1 (the target), or d + 2 with a bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from jobs.engines.batches import EpochPlan, Samples
from jobs.threads import workers

PIECE_ROWS = 4096  # a piece of 32 columns, and its residuals, stay in the second-level cache
LOAD_ROWS = 8192  # loaded at once
COPY_BYTES = 128 * 2**20  # data up to this size may be kept converted


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one batch: `begin` to `end` of the epoch's order; `batch_rows` counts those of all ranks."""

    begin: int
    end: int
    batch_rows: int
    opens: bool
    closes: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """A piece with its rows."""

    piece: Piece
    z_cq: Tensor


def pieces_of(plan: EpochPlan) -> Iterator[Piece]:
    """Yield the batches of a plan in pieces of at most PIECE_ROWS; a batch without rows here is one empty piece."""
    for (begin, end), batch_rows in zip(pairwise(plan.bounds), plan.batch_rows, strict=True):
        for start in range(begin, max(end, begin + 1), PIECE_ROWS):
            stop = min(start + PIECE_ROWS, end)
            yield Piece(start, stop, batch_rows, opens=start == begin, closes=stop == end)


def loads_of(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces in groups of at most LOAD_ROWS rows."""
    group: list[Piece] = []
    for piece in pieces:
        if group and piece.end - group[0].begin > LOAD_ROWS:
            yield group
            group = []
        group.append(piece)
    yield group


class Loader:
    """Loads the rows of samples; `kept` says that they are converted once, and not whenever they are wanted."""

    def __init__(self, samples: Samples, dtype: torch.dtype, *, bias: bool, kept: bool = False) -> None:
        self.samples = samples
        self.num_q = samples.num_columns + 1 + bias
        self._dtype = dtype
        self._kept_nq: Tensor | None = None
        if kept:
            self._kept_nq = self._buffer(samples.num_rows)
            for start in range(0, samples.num_rows, LOAD_ROWS):
                rows = slice(start, min(start + LOAD_ROWS, samples.num_rows))
                self._write(rows, self._kept_nq[rows])

    def epoch(self, plan: EpochPlan, *, ahead: bool = False) -> Iterator[Loaded]:
        """Yield the pieces of an epoch with their rows, which are valid until the next is asked for."""
        if self._kept_nq is not None and plan.order_n is None:
            for piece in pieces_of(plan):
                yield Loaded(piece, self._kept_nq[piece.begin : piece.end])
            return
        loads = loads_of(pieces_of(plan))
        for group in self._loaded_ahead(plan, loads) if ahead else self._loaded(plan, loads):
            yield from group

    def _loaded(self, plan: EpochPlan, loads: Iterator[list[Piece]]) -> Iterator[list[Loaded]]:
        buffer_cq = self._buffer(min(LOAD_ROWS, self.samples.num_rows))
        for group in loads:
            yield self._load(plan, group, buffer_cq)

    def _loaded_ahead(self, plan: EpochPlan, loads: Iterator[list[Piece]]) -> Iterator[list[Loaded]]:
        """Load each group in a thread while the one before is in use: there are two buffers."""
        size = min(LOAD_ROWS, self.samples.num_rows)
        now_cq, next_cq = self._buffer(size), self._buffer(size)
        with workers(1, "loader") as thread:
            coming = thread.submit(self._load, plan, next(loads), now_cq)
            for group in loads:
                loaded = coming.result()
                coming = thread.submit(self._load, plan, group, next_cq)
                now_cq, next_cq = next_cq, now_cq
                yield loaded
            yield coming.result()

    def _load(self, plan: EpochPlan, group: Sequence[Piece], buffer_cq: Tensor) -> list[Loaded]:
        begin, end = group[0].begin, group[-1].end
        rows = slice(begin, end) if plan.order_n is None else plan.order_n[begin:end]
        self._write(rows, buffer_cq[: end - begin])
        return [Loaded(piece, buffer_cq[piece.begin - begin : piece.end - begin]) for piece in group]

    def _write(self, rows: Tensor | slice, z_cq: Tensor) -> None:
        """Write rows of the samples, by their places, as z."""
        if self._kept_nq is not None and isinstance(rows, Tensor):
            torch.index_select(self._kept_nq, 0, rows, out=z_cq)
            return
        d = self.samples.num_columns
        z_cq[:, :d], z_cq[:, -1] = self.samples.take(rows)
        z_cq[:, d:-1] = 1.0

    def _buffer(self, num_rows: int) -> Tensor:
        return torch.empty(num_rows, self.num_q, dtype=self._dtype, device=self.samples.x_nd.device)


def worth_keeping(samples: Samples, dtype: torch.dtype, epochs: int) -> bool:
    """Return whether to convert the rows once: they are small, and read more often than a copy costs."""
    size_bytes = samples.num_rows * (samples.num_columns + 2) * dtype.itemsize
    return epochs > 2 and size_bytes <= COPY_BYTES
