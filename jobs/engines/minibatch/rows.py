"""The rows of one dataset as an engine gets them, and which of them are held out.

Shapes: n rows · m datasets (one) · d encoded columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import engine
from jobs.engines.minibatch.batches import Samples
from jobs.engines.minibatch.evaluation import Evaluator
from jobs.engines.minibatch.fitting import Run
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks, pooled, with_global_offset
from jobs.engines.moments import Moments, Scaling, moments_of
from jobs.engines.settings import TrainingSettings


@dataclass(frozen=True)
class Rows:
    """`x_nd` and `y_n` in raw units, float64 or float32.

    `part_n` is the part that holds a row out, from 0, or -1 where none does: one part is a validation set, several are
    folds. It is None where nothing is held out. Of several `ranks` each has its own rows, maybe none; all take part in
    each call, which speaks of the rows of all.
    """

    x_nd: Tensor
    y_n: Tensor
    part_n: Tensor | None = None
    num_parts: int = 0
    ranks: Ranks = SINGLE_PROCESS

    def share(self, ranks: Ranks) -> Rows:
        """Return this rank's share of the rows: as many as those of the others, give or take one."""
        n = len(self.y_n)
        own = slice(n * ranks.rank // ranks.number, n * (ranks.rank + 1) // ranks.number)
        part_n = None if self.part_n is None else self.part_n[own]
        return Rows(self.x_nd[own], self.y_n[own], part_n, self.num_parts, ranks)

    @cached_property
    def all_rows(self) -> Moments:
        """The moments of all rows."""
        return pooled(moments_of(self.x_nd, self.y_n), self.ranks)

    @cached_property
    def held_out(self) -> tuple[Moments, ...]:
        """The moments of each part held out."""
        parts = (self._in(part) for part in range(self.num_parts))
        return tuple(pooled(moments_of(self.x_nd, self.y_n, rows_n), self.ranks) for rows_n in parts)

    @property
    def train_moments(self) -> Moments:
        """The moments of the rows that train: all, but for a validation set."""
        return self.all_rows.without(self.held_out[0]) if self.num_parts == 1 else self.all_rows

    def take(self, index_m: Tensor) -> Rows:
        """Return the one dataset."""
        return self

    def start(
        self, part: int | None, scaling: Scaling | None, hyperparameters: Hyperparameters, settings: TrainingSettings
    ) -> Run:
        """Return a fit to the rows outside a part (None: all rows), before its first step."""
        return engine.prepare(self.training(scaling, without=part), hyperparameters, settings, self.ranks)

    def evaluator(self, part: int, scaling: Scaling | None, settings: TrainingSettings) -> Evaluator:
        """Return what scores any loss on the rows of a part."""
        held_out = Samples(self.x_nd, self.y_n, self._in(part), scaling)
        return engine.samples_evaluator(with_global_offset(held_out, self.ranks), settings, self.ranks)

    def training(self, scaling: Scaling | None, *, without: int | None) -> Samples:
        """Return the rows outside part `without` (None: all rows), to be scaled."""
        rows_n = None if without is None or self.part_n is None else (self.part_n != without).nonzero()[:, 0]
        return with_global_offset(Samples(self.x_nd, self.y_n, rows_n, scaling), self.ranks)

    def _in(self, part: int) -> Tensor:
        assert self.part_n is not None  # noqa: S101 - there are parts
        return (self.part_n == part).nonzero()[:, 0]
