"""From rows to what a step multiplies: z = [x 1 y], in the precision of training, a piece at a time.

With [W; b; -1] below it, z times the weights is the residual, and zᵀ times the slope the gradient: neither the bias
nor the target costs a pass of its own. Nothing of the size of the data is copied, unless it is small, or stepped over
often enough. The next pieces are loaded while a step is taken, where there is a thread, or a GPU, for it.

Shapes: n rows · c rows of a piece · d columns · q = p + 1 columns of z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, pairwise
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from jobs.engines.minibatch.batches import EpochBatches, Samples, epoch_batches
from jobs.engines.minibatch.slots import PinnedSlot, PlainSlot, Slot
from jobs.engines.threads import map_ahead

T = TypeVar("T")

PIECE_ROWS = 4096  # a piece of 32 columns, and its residuals, stay in the second-level cache
GPU_PIECE_ROWS = 131_072  # a GPU wants work for its many cores
LOADS_AHEAD = 3  # by one thread, which then need not be woken for each
COPY_BYTES = 128 * 2**20  # data up to this size may be kept converted
GPU_COPY_SHARE = 0.5  # of the GPU's free memory, likewise


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one batch: `begin` to `end` of the epoch's order; `batch_rows` counts those of all ranks.

    `opens` and `closes` say that the batch begins and ends with it, `last` that it is the last batch of the epoch.
    """

    begin: int
    end: int
    batch_rows: int
    opens: bool
    closes: bool
    last: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """A piece with its rows; `weighted` says that they are multiplied by factors, which stand in the column of ones."""

    piece: Piece
    z_cq: Tensor
    weighted: bool = False


class PieceLoader(Protocol):
    """The rows of a fit, batch by batch, as often as wanted."""

    @property
    def num_total(self) -> int:
        """The number of rows, of all ranks."""

    def batches(self, batch_size: int | None, seed: int, epoch: int, threads: int = 0) -> Iterator[Loaded]:
        """Yield the pieces of an epoch with their rows, which are valid until the next is asked for.

        A full batch comes as the rows stand. Up to `threads` may load the next pieces beside the caller.
        """


def pieces_of(batches: EpochBatches, piece_rows: int = PIECE_ROWS) -> Iterator[Piece]:
    """Yield the batches in pieces of at most `piece_rows` rows; a batch without rows here is one empty piece."""
    last = batches.bounds[-2]
    for (begin, end), batch_rows in zip(pairwise(batches.bounds), batches.batch_rows, strict=True):
        for start in range(begin, max(end, begin + 1), piece_rows):
            stop = min(start + piece_rows, end)
            yield Piece(start, stop, batch_rows, opens=start == begin, closes=stop == end, last=start >= last)


def loads_of(pieces: Iterator[Piece], load_rows: int) -> Iterator[list[Piece]]:
    """Yield the pieces in lists of at most `load_rows` rows."""
    group: list[Piece] = []
    for piece in pieces:
        if group and piece.end - group[0].begin > load_rows:
            yield group
            group = []
        group.append(piece)
    yield group


class Fetching(Iterator[T]):
    """An iterator whose next value may be fetched before it is asked for."""

    def __init__(self, values: Iterator[T]) -> None:
        self._values = values
        self._fetched: list[T] = []

    def __next__(self) -> T:
        return self._fetched.pop() if self._fetched else next(self._values)

    def fetch(self) -> None:
        """Fetch the next value, if there is one, and none is waiting."""
        self._fetched = self._fetched or list(islice(self._values, 1))


@dataclass(frozen=True, slots=True)
class _Load:
    slot: Slot
    pieces: Sequence[Piece]
    z_cq: Tensor


class Loader:
    """Loads the rows of samples to a device; `kept` says that they are converted once, and stay there."""

    def __init__(
        self,
        samples: Samples,
        dtype: torch.dtype,
        *,
        bias: bool,
        kept: bool = False,
        device: torch.device | None = None,
        piece_rows: int | None = None,
    ) -> None:
        self.samples = samples
        self.num_total = samples.num_total
        self.device = device or samples.x_nd.device
        self.piece_rows = piece_rows or default_piece_rows(self.device)
        self._dtype = dtype
        self._weighted = samples.factor_n is not None
        self._num_q = samples.num_columns + 1 + bias
        self._load_rows = 2 * self.piece_rows
        self._converted_nq: Tensor | None = None
        self._converted_nq = self._converted() if kept else None

    def batches(self, batch_size: int | None, seed: int, epoch: int, threads: int = 0) -> Iterator[Loaded]:
        """Yield the pieces of an epoch; see `PieceLoader`."""
        batches = epoch_batches(self.samples, batch_size, seed, epoch)
        pieces = pieces_of(batches, self.piece_rows)
        if self._converted_nq is not None and batches.order_n is None:
            for piece in pieces:
                yield Loaded(piece, self._converted_nq[piece.begin : piece.end], self._weighted)
            return
        order_n = batches.order_n
        if order_n is not None and self._converted_nq is not None:
            order_n = order_n.to(self.device)
        depth = LOADS_AHEAD if threads > 0 and self.samples.num_rows > self._load_rows else 0
        for load in self._loads(order_n, loads_of(pieces, self._load_rows), depth):
            load.slot.make_ready()
            begin = load.pieces[0].begin
            for piece in load.pieces:
                yield Loaded(piece, load.z_cq[piece.begin - begin : piece.end - begin], self._weighted)
            load.slot.release()

    def _loads(self, order_n: Tensor | None, loads: Iterator[list[Piece]], depth: int) -> Iterator[_Load]:
        slots = self._slots(max(depth + 1, 2 if self.device.type == "cuda" else 1))

        def load(item: tuple[Sequence[Piece], Slot]) -> _Load:
            pieces, slot = item
            begin, end = pieces[0].begin, pieces[-1].end
            rows = slice(begin, end) if order_n is None else order_n[begin:end]
            return _Load(slot, pieces, slot.fill(end - begin, partial(self._write, rows)))

        return map_ahead(load, zip(loads, cycle(slots), strict=False), min(depth, 1), depth, "loader")

    def _write(self, rows: Tensor | slice, z_cq: Tensor) -> None:
        """Write rows of the samples, by their places, as z."""
        if self._converted_nq is not None and isinstance(rows, Tensor):
            torch.index_select(self._converted_nq, 0, rows, out=z_cq)
            return
        d = self.samples.num_columns
        z_cq[:, :d], z_cq[:, -1] = self.samples.take(rows)
        z_cq[:, d:-1] = 1.0
        factor_c = self.samples.factors(rows)
        if factor_c is not None:
            z_cq *= factor_c.to(z_cq.device)[:, None]

    def _converted(self) -> Tensor:
        converted_nq = torch.empty(self.samples.num_rows, self._num_q, dtype=self._dtype, device=self.device)
        for loaded in self.batches(None, 0, 0):
            converted_nq[loaded.piece.begin : loaded.piece.end] = loaded.z_cq
        return converted_nq

    def _slots(self, number: int) -> list[Slot]:
        size = min(self._load_rows, self.samples.num_rows)
        kind = PinnedSlot if self.device.type == "cuda" and self._converted_nq is None else PlainSlot
        return [kind(size, self._num_q, self._dtype, self.device) for _ in range(number)]


def default_piece_rows(device: torch.device) -> int:
    """Return the rows of a piece that suit a device."""
    return GPU_PIECE_ROWS if device.type == "cuda" else PIECE_ROWS


def worth_keeping(samples: Samples, dtype: torch.dtype, epochs: int, device: torch.device) -> bool:
    """Return whether to convert the rows once: they fit, and are read more often than a copy costs."""
    limit_bytes: float = COPY_BYTES
    if device.type == "cuda":
        limit_bytes = GPU_COPY_SHARE * torch.cuda.mem_get_info(device)[0]
    return epochs > 2 and samples.num_rows * (samples.num_columns + 2) * dtype.itemsize <= limit_bytes
