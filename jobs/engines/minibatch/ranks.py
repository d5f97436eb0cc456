"""The processes that train together, each with some of the rows; and one that trains alone.

An engine asks three things of them: a sum over all rows, a gradient over all rows, and where its own rows stand among
all. Whatever holds for the sum holds on every rank, so all take the same decisions.

Shapes: m datasets · d encoded columns · q columns of z · w columns of a product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from jobs.engines.minibatch.batches import Samples
from jobs.engines.moments import Moments, or_one


class Reduce(Protocol):
    """A function that replaces each rank's share of a gradient by the sum of all, in place."""

    def __call__(self, gradient_qw: Tensor, meanwhile: Callable[[], None]) -> None:
        """Replace the share; `meanwhile` may be called while waiting for the other ranks."""


class Ranks(Protocol):
    """The processes that train together, seen from one of them: number `rank` of `number`."""

    @property
    def rank(self) -> int: ...

    @property
    def number(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def total(self, value: Tensor, what: str) -> Tensor:
        """Return the sum of a value over the ranks, the same on each; `what` names it in messages."""

    def reducer(self, weight_qw: Tensor) -> Reduce:
        """Return what adds up the shares of the gradient of these weights."""


@dataclass(frozen=True)
class SingleProcess:
    """One process with all the rows."""

    device: torch.device
    rank: int = 0
    number: int = 1

    def total(self, value: Tensor, what: str) -> Tensor:
        return value

    def reducer(self, weight_qw: Tensor) -> Reduce:
        return no_reduction


def no_reduction(gradient_qw: Tensor, meanwhile: Callable[[], None]) -> None:
    """One process has the whole gradient."""


SINGLE_PROCESS = SingleProcess(torch.device("cpu"))


def with_global_offset(samples: Samples, ranks: Ranks) -> Samples:
    """Return the samples with their place among those of all ranks, which are in the order of the ranks."""
    if ranks.number == 1:
        return samples
    counts = torch.zeros(ranks.number, dtype=torch.int64)
    counts[ranks.rank] = samples.num_rows
    num_rows = ranks.total(counts, "the numbers of rows").tolist()
    return replace(samples, offset=sum(num_rows[: ranks.rank]), total=sum(num_rows))


def pooled(moments: Moments, ranks: Ranks) -> Moments:
    """Return the moments of the rows of all ranks: the sums are moved to the common mean, and added up."""
    if ranks.number == 1:
        return moments
    n_m1 = moments.num_rows_m[:, None]
    sums = torch.cat([n_m1, n_m1 * moments.mean_md, n_m1 * moments.y_mean_m[:, None]], dim=1)
    counted = moments.count_m is not None
    totals = ranks.total(torch.cat([moments.rows_m[:, None], sums], dim=1) if counted else sums, "the means")
    count_m, totals = (totals[:, 0], totals[:, 1:]) if counted else (None, totals)
    means = totals[:, 1:] / or_one(totals[:, :1])
    gap_md, y_gap_m = moments.mean_md - means[:, :-1], moments.y_mean_m - means[:, -1]
    scatter_mdd = moments.scatter_mdd + n_m1[:, :, None] * gap_md[:, :, None] * gap_md[:, None, :]
    cross_md = moments.cross_md + n_m1 * gap_md * y_gap_m[:, None]
    y_scatter_m = moments.y_scatter_m + moments.num_rows_m * y_gap_m.square()
    products = torch.cat([scatter_mdd.flatten(1), cross_md, y_scatter_m[:, None]], dim=1)
    products, d = ranks.total(products, "the cross-products"), moments.num_columns
    return Moments(
        num_rows_m=totals[:, 0],
        mean_md=means[:, :-1],
        scatter_mdd=products[:, : d * d].reshape(scatter_mdd.shape),
        y_mean_m=means[:, -1],
        cross_md=products[:, d * d : -1],
        y_scatter_m=products[:, -1],
        count_m=count_m,
    )
