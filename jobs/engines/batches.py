"""Which rows make a batch: seeded, the same for every row of the grid, and for every grid.

Shapes: n rows · d columns · b rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """The rows that an engine steps over: `x_nd` and `y_n`, in the units and precision of training."""

    x_nd: Tensor
    y_n: Tensor

    @property
    def num_rows(self) -> int:
        return self.x_nd.shape[0]


def epoch_order(num_rows: int, seed: int, epoch: int) -> Tensor:
    """Return the order of the rows in an epoch: a permutation, int32, that depends on nothing but its arguments."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(num_rows, generator=generator, dtype=torch.int32)


def batches(samples: Samples, batch_size: int | None, seed: int, epoch: int) -> Iterator[Samples]:
    """Yield the batches of an epoch, every row in exactly one, the last maybe smaller; a full batch is not shuffled."""
    n = samples.num_rows
    if batch_size is None or batch_size >= n:
        yield samples
        return
    order_n = epoch_order(n, seed, epoch)
    for begin in range(0, n, batch_size):
        rows_b = order_n[begin : begin + batch_size]
        yield Samples(samples.x_nd.index_select(0, rows_b), samples.y_n.index_select(0, rows_b))
