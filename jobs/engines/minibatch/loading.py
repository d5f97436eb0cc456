"""From rows to what a step multiplies: z = [x 1 y], in the precision of training, a piece at a time.

With [W; b; -1] below it, z times the weights is the residual, and zᵀ times the slope the gradient: neither the bias
nor the target costs a pass of its own. Nothing of the size of the data is copied, unless it is small, or stepped over
often enough. The next pieces are loaded while a step is taken, where there is a thread, or a GPU, for it.

Shapes: n rows · c rows of a piece · d columns · q = d + 1 (the target), or d + 2 with a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from jobs.engines.minibatch.batches import EpochPlan, Samples, plan_epoch
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
    """A piece with its rows."""

    piece: Piece
    z_cq: Tensor


class PieceLoader(Protocol):
    """The rows of a fit, batch by batch, as often as wanted."""

    @property
    def num_total(self) -> int:
        """The number of rows, of all ranks."""

    def batches(self, batch_size: int | None, seed: int, epoch: int, threads: int = 0) -> Iterator[Loaded]:
        """Yield the pieces of an epoch with their rows, which are valid until the next is asked for.

        A full batch comes as the rows stand. Up to `threads` may load the next pieces beside the caller.
        """


def pieces_of(plan: EpochPlan, piece_rows: int = PIECE_ROWS) -> Iterator[Piece]:
    """Yield the batches of a plan in pieces of at most so many rows; a batch without rows here is one empty piece."""
    last = plan.bounds[-2]
    for (begin, end), batch_rows in zip(pairwise(plan.bounds), plan.batch_rows, strict=True):
        for start in range(begin, max(end, begin + 1), piece_rows):
            stop = min(start + piece_rows, end)
            yield Piece(start, stop, batch_rows, opens=start == begin, closes=stop == end, last=start >= last)


def loads_of(pieces: Iterator[Piece], load_rows: int) -> Iterator[list[Piece]]:
    """Yield the pieces in groups of at most so many rows."""
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
        self._num_q = samples.num_columns + 1 + bias
        self._kept_nq = self._converted() if kept else None

    @property
    def load_rows(self) -> int:
        """The rows that are loaded at once."""
        return 2 * self.piece_rows

    def batches(self, batch_size: int | None, seed: int, epoch: int, threads: int = 0) -> Iterator[Loaded]:
        """Yield the pieces of an epoch; see `PieceLoader`."""
        plan = plan_epoch(self.samples, batch_size, seed, epoch)
        return self.epoch(plan, ahead=threads > 0 and self.samples.num_rows > self.load_rows)

    def epoch(self, plan: EpochPlan, *, ahead: bool = False) -> Iterator[Loaded]:
        """Yield the pieces of an epoch with their rows, which are valid until the next is asked for."""
        pieces = pieces_of(plan, self.piece_rows)
        if self._kept_nq is not None and plan.order_n is None:
            for piece in pieces:
                yield Loaded(piece, self._kept_nq[piece.begin : piece.end])
            return
        order_n = plan.order_n if self._kept_nq is None or plan.order_n is None else plan.order_n.to(self.device)
        for load in self._loads(order_n, loads_of(pieces, self.load_rows), LOADS_AHEAD if ahead else 0):
            load.slot.make_ready()
            begin = load.pieces[0].begin
            for piece in load.pieces:
                yield Loaded(piece, load.z_cq[piece.begin - begin : piece.end - begin])
            load.slot.release()

    def _loads(self, order_n: Tensor | None, loads: Iterator[list[Piece]], depth: int) -> Iterator[_Load]:
        slots = self._slots(max(depth + 1, 2 if self.device.type == "cuda" else 1))

        def load(item: tuple[Sequence[Piece], Slot]) -> _Load:
            return self._load(order_n, *item)

        return map_ahead(load, zip(loads, cycle(slots), strict=False), min(depth, 1), depth, "loader")

    def _load(self, order_n: Tensor | None, group: Sequence[Piece], slot: Slot) -> _Load:
        begin, end = group[0].begin, group[-1].end
        rows = slice(begin, end) if order_n is None else order_n[begin:end]
        return _Load(slot, group, slot.fill(end - begin, self._writer(rows)))

    def _writer(self, rows: Tensor | slice) -> Callable[[Tensor], None]:
        """Return what writes rows of the samples, by their places, as z."""
        kept_nq, d = self._kept_nq, self.samples.num_columns

        def select(z_cq: Tensor) -> None:
            assert kept_nq is not None and isinstance(rows, Tensor)  # noqa: S101 - else `convert` is returned
            torch.index_select(kept_nq, 0, rows, out=z_cq)

        def convert(z_cq: Tensor) -> None:
            z_cq[:, :d], z_cq[:, -1] = self.samples.take(rows)
            z_cq[:, d:-1] = 1.0

        return convert if kept_nq is None or isinstance(rows, slice) else select

    def _converted(self) -> Tensor:
        n = self.samples.num_rows
        kept_nq = torch.empty(n, self._num_q, dtype=self._dtype, device=self.device)
        self._kept_nq = None
        everything = EpochPlan(None, (0, n), (n,))
        for loaded in self.epoch(everything):
            kept_nq[loaded.piece.begin : loaded.piece.end] = loaded.z_cq
        return kept_nq

    def _slots(self, number: int) -> list[Slot]:
        size = min(self.load_rows, self.samples.num_rows)
        kind = PinnedSlot if self.device.type == "cuda" and self._kept_nq is None else PlainSlot
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
