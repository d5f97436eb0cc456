"""Which rows make a batch: seeded, the same for every row of the grid, for every grid, and for any number of ranks.

Shapes: n rows (of this rank; of all ranks: `num_total`) · c rows of a chunk · d columns · j batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.engines.scaling import Scaling


@dataclass(frozen=True)
class Samples:
    """The rows that an engine steps over, as they are: they are chosen, scaled and converted when they are loaded.

    `rows_n` are the places of the rows in `x_nd` and `y_n` (None: all of them). Where ranks share the rows of a
    dataset, these are the rows from `offset` on of `total` (None: there are no others). `factor_n` is what each row of
    `x_nd` is multiplied by when it is loaded, with its target and its one, to give it a weight (None: nothing).
    """

    x_nd: Tensor
    y_n: Tensor
    rows_n: Tensor | None = None
    scaling: Scaling | None = None
    offset: int = 0
    total: int | None = None
    factor_n: Tensor | None = None

    @property
    def num_rows(self) -> int:
        return len(self.x_nd if self.rows_n is None else self.rows_n)

    @property
    def num_columns(self) -> int:
        return self.x_nd.shape[1]

    @property
    def num_total(self) -> int:
        """The rows of all ranks."""
        return self.num_rows if self.total is None else self.total

    def take(self, places: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return the columns and the target of the rows at some places, scaled, in the precision that they have."""
        if self.rows_n is not None:
            places = self.rows_n[places]
        if isinstance(places, slice):
            x_cd, y_c = self.x_nd[places], self.y_n[places]
        else:
            x_cd, y_c = self.x_nd.index_select(0, places), self.y_n.index_select(0, places)
        if self.scaling is not None:
            x_cd, y_c = self.scaling.columns(x_cd), self.scaling.target(y_c)
        return x_cd, y_c

    def write(self, places: Tensor | slice, x_cd: Tensor, y_c: Tensor) -> None:
        """Write the rows at some places, scaled, in the precision of what they are written to; all on the CPU."""
        plain = self.rows_n is None and self.scaling is None and self.x_nd.dtype == x_cd.dtype
        if plain and isinstance(places, Tensor):
            # Unbuffered, NumPy gathers rows in two thirds of index_select's time.
            np.take(self.x_nd.numpy(), places.numpy(), axis=0, out=x_cd.numpy(), mode="clip")
            np.take(self.y_n.numpy(), places.numpy(), out=y_c.numpy(), mode="clip")
            return
        taken_cd, taken_c = self.take(places)
        x_cd.copy_(taken_cd)
        y_c.copy_(taken_c)

    def factors(self, places: Tensor | slice) -> Tensor | None:
        """Return what the rows at some places are multiplied by; None for nothing."""
        if self.factor_n is None:
            return None
        return self.factor_n[places if self.rows_n is None else self.rows_n[places]]

    def converted(self, dtype: torch.dtype) -> Samples:
        """Return a copy of the rows, scaled, in a precision."""
        x_nd, y_n = self.take(slice(None))
        factor_n = self.factors(slice(None))
        return Samples(x_nd.to(dtype), y_n.to(dtype), offset=self.offset, total=self.total, factor_n=factor_n)


@dataclass(frozen=True)
class EpochBatches:
    """The batches of an epoch: batch i is `order_n[bounds[i]:bounds[i + 1]]` here, and `batch_rows[i]` on all ranks.

    `order_n` is None where the rows come as they stand.
    """

    order_n: Tensor | None
    bounds: tuple[int, ...]
    batch_rows: tuple[int, ...]


def shuffled(num_rows: int, batch_size: int, seed: int, epoch: int, own: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Return the rows of `own` in the order of the batches of an epoch (int64), and where each batch begins and ends.

    A random permutation, which depends on the first four arguments alone, says which batch a row is in. Within a batch
    the rows come as they stand: they are then fetched in two thirds of the time. Of a range of rows, places count from
    its start.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    dtype = torch.int32 if num_rows < 2**31 else torch.int64
    batch_n = torch.randperm(num_rows, generator=generator, dtype=dtype)[own].numpy() // batch_size
    order_n = _sorting(batch_n)
    bounds_j = np.searchsorted(batch_n, np.arange(-(-num_rows // batch_size) + 1), sorter=order_n)
    return torch.from_numpy(order_n), torch.from_numpy(bounds_j)


def _sorting(value_n: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Return the places of whole numbers in ascending order, equal ones as they stand; by radix, two bytes a time."""
    order_n, high_n = value_n.astype(np.uint16).argsort(kind="stable"), value_n >> 16
    return order_n[high_n[order_n].astype(np.uint16).argsort(kind="stable")] if high_n.any() else order_n


def epoch_batches(samples: Samples, batch_size: int | None, seed: int, epoch: int) -> EpochBatches:
    """Return the batches of an epoch, every row in exactly one, the last maybe smaller; a full batch is not shuffled.

    Each rank has those rows of a batch that it holds: maybe none.
    """
    n, total = samples.num_rows, samples.num_total
    if batch_size is None or batch_size >= total:
        return EpochBatches(None, (0, n), (total,))
    own = slice(samples.offset, samples.offset + n)
    order_n, bounds_j = shuffled(total, batch_size, seed, epoch, own)
    batch_rows = tuple(min(batch_size, total - start) for start in range(0, total, batch_size))
    return EpochBatches(order_n, tuple(bounds_j.tolist()), batch_rows)
