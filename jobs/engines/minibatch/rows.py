"""The rows of one dataset as an engine gets them, and which of them are held out.

Shapes: n rows · m datasets (one) · d encoded columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.losses import row_factors
from jobs.engines.minibatch import engine
from jobs.engines.minibatch.batches import Samples
from jobs.engines.minibatch.evaluation import Evaluator
from jobs.engines.minibatch.fitting import Run
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks, pooled, with_global_offset
from jobs.engines.moments import Moments, moments_of
from jobs.engines.scaling import Scaling
from jobs.engines.settings import TrainingSettings


@dataclass(frozen=True)
class Rows:
    """`x_nd` and `y_n` in raw units, float64 or float32; `weight_n` are the weights of the rows (None: all are 1).

    `fold_n` is the fold of a row, from 0, or -1 for a row that only trains; None if no row is held out. A single fold
    is a validation set. Each of several `ranks` has its own rows, maybe none; all ranks make the same calls, and the
    results are those of all rows.
    """

    x_nd: Tensor
    y_n: Tensor
    fold_n: Tensor | None = None
    num_folds: int = 0
    ranks: Ranks = SINGLE_PROCESS
    weight_n: Tensor | None = None

    def share(self, ranks: Ranks) -> Rows:
        """Return this rank's share of the rows: as many as those of the others, give or take one."""
        n = len(self.y_n)
        own = slice(n * ranks.rank // ranks.number, n * (ranks.rank + 1) // ranks.number)
        fold_n = None if self.fold_n is None else self.fold_n[own]
        weight_n = None if self.weight_n is None else self.weight_n[own]
        return Rows(self.x_nd[own], self.y_n[own], fold_n, self.num_folds, ranks, weight_n)

    @cached_property
    def all_rows(self) -> Moments:
        """The moments of all rows."""
        return self._moments(None)

    @cached_property
    def held_out(self) -> tuple[Moments, ...]:
        """The moments of each fold."""
        return tuple(self._moments(self._in(fold)) for fold in range(self.num_folds))

    @property
    def train_moments(self) -> Moments:
        """The moments of the rows that train: all, but for a validation set."""
        return self.all_rows.without(self.held_out[0]) if self.num_folds == 1 else self.all_rows

    def take(self, index_m: Tensor) -> Rows:
        """Return the one dataset."""
        return self

    def start(
        self, fold: int | None, scaling: Scaling | None, hyperparameters: Hyperparameters, settings: TrainingSettings
    ) -> Run:
        """Return a fit to the rows outside a fold (None: all rows), before its first step."""
        if scaling is not None:
            hyperparameters = scaling.hyperparameters(hyperparameters)
        samples = self.training(scaling, without=fold, loss=settings.loss)
        return engine.prepare(samples, hyperparameters, settings, self.ranks)

    def evaluator(self, fold: int, scaling: Scaling | None, settings: TrainingSettings) -> Evaluator:
        """Return what scores any loss on the rows of a fold."""
        factor_n = self._factors(self.held_out[fold], settings.loss)
        held_out = Samples(self.x_nd, self.y_n, self._in(fold), scaling, factor_n=factor_n)
        return engine.samples_evaluator(with_global_offset(held_out, self.ranks), settings, self.ranks)

    def training(self, scaling: Scaling | None, *, without: int | None, loss: str) -> Samples:
        """Return the rows outside fold `without` (None: all rows), to be scaled, with the factors of a loss."""
        rows_n = None if without is None or self.fold_n is None else (self.fold_n != without).nonzero()[:, 0]
        trained = self.all_rows if rows_n is None or without is None else self.all_rows.without(self.held_out[without])
        factor_n = self._factors(trained, loss)
        return with_global_offset(Samples(self.x_nd, self.y_n, rows_n, scaling, factor_n=factor_n), self.ranks)

    def _moments(self, rows_n: Tensor | None) -> Moments:
        return pooled(moments_of(self.x_nd, self.y_n, rows_n, weight_n=self.weight_n), self.ranks)

    def _factors(self, of: Moments, loss: str) -> Tensor | None:
        """Return what all rows are multiplied by, so that their loss has their weight relative to the mean of some."""
        if self.weight_n is None:
            return None
        return row_factors(self.weight_n, of.num_rows_m / of.rows_m, loss)

    def _in(self, fold: int) -> Tensor:
        assert self.fold_n is not None  # noqa: S101 - there are folds
        return (self.fold_n == fold).nonzero()[:, 0]
