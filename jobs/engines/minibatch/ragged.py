"""The rows of several datasets beside each other: of any lengths, padded with rows of zeros to one tensor.

A row of zeros adds nothing to a gradient, whatever the loss: the gradient is zᵀ slope.

Shapes: n rows (of all datasets) · m datasets · r padded rows (1 + those of the largest dataset, the last of zeros) · s
sizes · d columns · q columns of z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.losses import row_factors
from jobs.engines.minibatch.batches import shuffled
from jobs.engines.scaling import Scaling


@dataclass(frozen=True)
class Ragged:
    """Rows of m datasets: those at `place_n` of `x_nd` and `y_n`, `size_m` of them to each dataset, in order.

    `weight_n` are the weights of the rows of `x_nd` (None: all are 1).
    """

    x_nd: Tensor
    y_n: Tensor
    place_n: Tensor
    size_m: Tensor
    weight_n: Tensor | None = None

    @property
    def dataset_n(self) -> Tensor:
        """The dataset of each row."""
        return torch.arange(len(self.size_m)).repeat_interleave(self.size_m)

    def take(self, index_m: Tensor) -> Ragged:
        """Return the datasets at `index_m`, in that order."""
        size_m = self.size_m[index_m]
        start_m = (self.size_m.cumsum(0) - self.size_m)[index_m]
        return replace(self, place_n=self.place_n[_spread(start_m, size_m)], size_m=size_m)

    def where(self, chosen_n: Tensor) -> Ragged:
        """Return the rows that are chosen, of each dataset."""
        size_m = torch.zeros_like(self.size_m).index_add_(0, self.dataset_n, chosen_n.to(torch.int64))
        return replace(self, place_n=self.place_n[chosen_n], size_m=size_m)

    def padded(self, scaling: Scaling | None, dtype: torch.dtype, *, bias: bool, loss: str) -> Tensor:
        """Return z = [x 1 y] of each dataset, scaled by its own scaling, then zeros, (m, r, q).

        Rows with weights are multiplied by their factors for a loss.
        """
        m, r, d = len(self.size_m), int(self.size_m.max()) + 1, self.x_nd.shape[1]
        dataset_n, x_nd, y_n = self.dataset_n, self.x_nd[self.place_n], self.y_n[self.place_n]
        if scaling is not None:
            x_nd, y_n = scaling.columns(x_nd, dataset_n), scaling.target(y_n, dataset_n)
        row_n = _spread(torch.arange(m) * r, self.size_m)
        z_nq = torch.zeros(m * r, d + 1 + bias, dtype=dtype)
        z_nq[row_n, :d] = x_nd.to(dtype)
        z_nq[row_n, -1] = y_n.to(dtype)
        if bias:
            z_nq[row_n, d] = 1.0
        if self.weight_n is not None:
            z_nq[row_n] *= self._factors(self.weight_n[self.place_n], loss).to(dtype)[:, None]
        return z_nq.view(m, r, d + 1 + bias)

    def _factors(self, weight_n: Tensor, loss: str) -> Tensor:
        sum_m = torch.zeros(len(self.size_m), dtype=torch.float64).index_add_(0, self.dataset_n, weight_n)
        return row_factors(weight_n, (sum_m / self.size_m)[self.dataset_n], loss)


def _spread(start_m: Tensor, size_m: Tensor) -> Tensor:
    """Return the places from each start on, as many as its size, one after the other."""
    first_m = size_m.cumsum(0) - size_m
    return torch.arange(int(size_m.sum())) + (start_m - first_m).repeat_interleave(size_m)


@dataclass(frozen=True)
class Batches:
    """The batches of datasets that have equally many to an epoch; each has those that it would have alone."""

    size_m: Tensor
    batch_size: int | None
    seed: int

    @property
    def num_batches(self) -> int:
        return int(num_batches(self.size_m[:1], self.batch_size)[0])

    def epoch(self, epoch: int) -> list[Tensor | None]:
        """Return, for each batch of an epoch, the places of its rows in the flattened padding; None for all rows."""
        if self.num_batches == 1 or self.batch_size is None:
            return [None]
        r = int(self.size_m.max()) + 1
        lengths, which_m = torch.unique(self.size_m, return_inverse=True)
        order_sr = torch.full((len(lengths), r - 1), r - 1, dtype=torch.int64)
        for at, length in enumerate(lengths.tolist()):
            order_sr[at, :length], _ = shuffled(length, self.batch_size, self.seed, epoch)
        place_mr = order_sr[which_m] + (torch.arange(len(self.size_m)) * r)[:, None]
        return [place_mr[:, at : at + self.batch_size] for at in range(0, r - 1, self.batch_size)]

    def num_rows(self, batch: int) -> Tensor:
        """Return how many rows of each dataset are in a batch, (m,)."""
        if self.batch_size is None or self.num_batches == 1:
            return self.size_m
        return (self.size_m - batch * self.batch_size).clamp(max=self.batch_size)


def num_batches(size_m: Tensor, batch_size: int | None) -> Tensor:
    """Return the number of batches to an epoch of each dataset, (m,)."""
    return torch.ones_like(size_m) if batch_size is None else (size_m + batch_size - 1) // batch_size
