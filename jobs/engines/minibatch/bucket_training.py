"""Many small datasets through the minibatch engine, cut into buckets; one that is large by itself is trained alone.

Shapes: n rows (of all datasets) · m datasets · r padded rows · d columns · q columns of z.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training, bucket
from jobs.engines.minibatch.bucket import RowsEvaluator
from jobs.engines.minibatch.checkpointing import Checkpoints
from jobs.engines.minibatch.fitting import Run
from jobs.engines.minibatch.ragged import Batches, Ragged
from jobs.engines.minibatch.results import joined
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import Moments
from jobs.engines.scaling import Scaling
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult

BUCKET_BYTES = 16 * 2**20  # of rows and their residuals, padded


@dataclass(frozen=True)
class BucketRows:
    """The rows of m datasets, the moments of all rows of each, and of its folds.

    `fold_n` is the fold of a row, from 0, or -1; None if no row is held out. One of several folds may have no rows of a
    dataset. The fits are short, so they save no training checkpoints.
    """

    rows: Ragged
    fold_n: Tensor | None
    all_rows: Moments
    held_out: tuple[Moments, ...]

    def take(self, index_m: Tensor) -> BucketRows:
        """Return the datasets at `index_m`, in that order."""
        numbered = replace(self.rows, place_n=torch.arange(len(self.rows.place_n))).take(index_m)
        return BucketRows(
            replace(numbered, place_n=self.rows.place_n[numbered.place_n]),
            None if self.fold_n is None else self.fold_n[numbered.place_n],
            self.all_rows.take(index_m),
            tuple(fold.take(index_m) for fold in self.held_out),
        )

    def start(
        self, fold: int | None, scaling: Scaling | None, hyperparameters: Hyperparameters, settings: TrainingSettings
    ) -> Run:
        """Return a fit to the rows outside a fold (None: all rows), before its first step."""
        rows = self.rows if fold is None or self.fold_n is None else self.rows.where(self.fold_n != fold)
        evaluator = _evaluator(rows, scaling, settings)
        stack = bucket.start(evaluator.z_mrq.shape[2] - 1, scaling, hyperparameters, settings)
        batches = Batches(rows.size_m, settings.batch_size, settings.seed)
        return Run(stack, partial(bucket.run_epoch, evaluator, batches, stack, settings), evaluator)

    def evaluator(self, fold: int, scaling: Scaling | None, settings: TrainingSettings) -> RowsEvaluator:
        """Return what scores any loss on the rows of a fold."""
        assert self.fold_n is not None  # noqa: S101 - there are folds
        return _evaluator(self.rows.where(self.fold_n == fold), scaling, settings)


def _evaluator(rows: Ragged, scaling: Scaling | None, settings: TrainingSettings) -> RowsEvaluator:
    z_mrq = rows.padded(scaling, settings.torch_dtype, bias=settings.bias, loss=settings.loss)
    return RowsEvaluator(z_mrq, rows.size_m, weighted=rows.weight_n is not None)


def train(
    data: BucketRows,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    *,
    want_curves: bool = True,
    telling: Callable[[float, float], Checkpoints] | None = None,
) -> BlockResult:
    """Return the trials of all datasets; `hyperparameters` hold the rates of each. Without curves, their last epoch.

    `telling` returns where a bucket tells its epochs, by the share of the datasets before it, and with it.
    """
    started = time.perf_counter()
    width = data.all_rows.num_columns + 2 + 2 * hyperparameters.num_points
    size_bytes_m = (data.rows.size_m + 1) * width * settings.torch_dtype.itemsize
    buckets = _cut(data.rows.size_m, size_bytes_m)
    results, before = [], 0.0
    for index_m in buckets:
        large = len(index_m) == 1 and size_bytes_m[index_m[0]] > BUCKET_BYTES
        source = _alone(data.take(index_m)) if large else data.take(index_m)
        after = before + len(index_m) / len(size_bytes_m)
        told = telling(before, after) if telling else None
        result = block_training.train(source, hyperparameters.datasets(index_m), settings, told)
        before = after
        results.append(result if want_curves else result.last_epoch_only())
    return replace(joined(results, buckets), wall_s=time.perf_counter() - started)


def _cut(size_m: Tensor, size_bytes_m: Tensor) -> list[Tensor]:
    """Return the datasets of each bucket: of similar length, as many as are small together when they are padded."""
    buckets: list[list[int]] = []
    for at in size_m.argsort(stable=True).tolist():
        # The last of a bucket is its longest: all are padded to it.
        if not buckets or (len(buckets[-1]) + 1) * float(size_bytes_m[at]) > BUCKET_BYTES:
            buckets.append([])
        buckets[-1].append(at)
    return [torch.tensor(bucket) for bucket in buckets]


def _alone(data: BucketRows) -> Rows:
    """Return the rows of one dataset alone; its folds are numbered without a gap."""
    x_nd, y_n = data.rows.x_nd[data.rows.place_n], data.rows.y_n[data.rows.place_n]
    weight_n = None if data.rows.weight_n is None else data.rows.weight_n[data.rows.place_n]
    if data.fold_n is None:
        return Rows(x_nd, y_n, weight_n=weight_n)
    fold_n = data.fold_n.to(torch.int64)
    held_out = torch.tensor([fold for fold, of_all in enumerate(data.held_out) if of_all.num_rows_m[0] > 0])
    numbered_n = torch.where(fold_n < 0, fold_n, torch.searchsorted(held_out, fold_n))
    return Rows(x_nd, y_n, numbered_n, len(held_out), weight_n=weight_n)
