"""Many small datasets through the minibatch engine: cut into buckets, with validation, folds and scaling around.

What `row_training` does for one dataset, for m. A dataset that is large by itself goes there.

Shapes: n rows of all datasets · m datasets · g grid points · t = m g trials · e evaluated epochs · p weights (the bias
last).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from jobs.engines.closed_form.divergence import earlier
from jobs.engines.curves import best_epoch_index
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import row_training
from jobs.engines.minibatch.bucket import Evaluator, MomentsEvaluator, RowsEvaluator, fit
from jobs.engines.minibatch.bucket_results import Fits, Pooled, block_result
from jobs.engines.minibatch.ragged import Batches, Ragged, num_batches
from jobs.engines.minibatch.rows import Rows
from jobs.engines.minibatch.tracking import Tracker
from jobs.engines.moments import Moments, Scaling, leaving_out, scaling_of
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult

BUCKET_BYTES = 16 * 2**20  # of rows and their residuals, padded


@dataclass(frozen=True)
class BucketRows:
    """The rows of m datasets, the moments of all of each, and of the parts held out.

    `part_n` is the part that holds a row out, from 0, or -1; None where nothing is held out. A part may be without rows
    of a dataset, where there are several.
    """

    rows: Ragged
    part_n: Tensor | None
    moments: Moments
    held_out: tuple[Moments, ...]

    def take(self, index_m: Tensor) -> BucketRows:
        """Return the datasets at `index_m`, in that order."""
        numbered = replace(self.rows, place_n=torch.arange(len(self.rows.place_n))).take(index_m)
        return BucketRows(
            replace(numbered, place_n=self.rows.place_n[numbered.place_n]),
            None if self.part_n is None else self.part_n[numbered.place_n],
            self.moments.take(index_m),
            tuple(part.take(index_m) for part in self.held_out),
        )

    def training(self, part: int | None) -> Ragged:
        """Return the rows outside a part (None: all rows)."""
        return self.rows if part is None or self.part_n is None else self.rows.where(self.part_n != part)

    def within(self, part: int) -> Ragged:
        """Return the rows of a part."""
        assert self.part_n is not None  # noqa: S101 - there are parts
        return self.rows.where(self.part_n == part)


def train(
    data: BucketRows, hyperparameters: Hyperparameters, settings: TrainingSettings, *, want_curves: bool = True
) -> BlockResult:
    """Return the trials of all datasets; `hyperparameters` hold the rates of each. Without curves, their last epoch."""
    started = time.perf_counter()
    buckets = _cut(data, hyperparameters.num_points, settings)
    parts = []
    for index_m in buckets:
        hyper = replace(hyperparameters, learning_rate_mg=hyperparameters.learning_rate_mg[index_m])
        large = len(index_m) == 1 and _size_bytes(data, hyper.num_points, settings)[index_m[0]] > BUCKET_BYTES
        result = (_train_large if large else _train_bucket)(data.take(index_m), hyper, settings)
        parts.append(result if want_curves else result.last_epoch_only())
    return _joined(parts, torch.cat(buckets).argsort(), time.perf_counter() - started)


def _cut(data: BucketRows, num_points: int, settings: TrainingSettings) -> list[Tensor]:
    """Return the datasets of each bucket: of similar length, as many as are small together when they are padded."""
    size_bytes_m = _size_bytes(data, num_points, settings)
    order_m = data.rows.size_m.argsort(stable=True)
    buckets: list[list[int]] = []
    for at in order_m.tolist():
        # The last of a bucket is its longest: all are padded to it.
        if not buckets or (len(buckets[-1]) + 1) * float(size_bytes_m[at]) > BUCKET_BYTES:
            buckets.append([])
        buckets[-1].append(at)
    return [torch.tensor(bucket) for bucket in buckets]


def _size_bytes(data: BucketRows, num_points: int, settings: TrainingSettings) -> Tensor:
    width = data.moments.num_columns + 2 + 2 * num_points
    return (data.rows.size_m + 1) * width * settings.torch_dtype.itemsize


def _train_large(data: BucketRows, hyperparameters: Hyperparameters, settings: TrainingSettings) -> BlockResult:
    """Train one dataset by itself; its parts are numbered without a gap."""
    x_nd, y_n = data.rows.x_nd[data.rows.place_n], data.rows.y_n[data.rows.place_n]
    if data.part_n is None:
        return row_training.train(Rows(x_nd, y_n), hyperparameters, settings)
    part_n = data.part_n.to(torch.int64)
    held_out = torch.tensor([part for part, of_all in enumerate(data.held_out) if of_all.num_rows_m[0] > 0])
    numbered_n = torch.where(part_n < 0, part_n, torch.searchsorted(held_out, part_n))
    return row_training.train(Rows(x_nd, y_n, numbered_n, len(held_out)), hyperparameters, settings)


def _train_bucket(data: BucketRows, hyperparameters: Hyperparameters, settings: TrainingSettings) -> BlockResult:
    started = time.perf_counter()
    held_out = data.held_out
    kept = data.moments.without(held_out[0]) if len(held_out) == 1 else data.moments
    pooled = _cross_validate(data, hyperparameters, settings) if len(held_out) > 1 else None
    fits = _fit_all(
        _Fold(data.training(0 if len(held_out) == 1 else None), kept, *_validation(data, 0)),
        hyperparameters,
        settings,
        best_epoch_index(pooled.loss_mge, settings.keep) if pooled else None,
    )
    return block_result(fits, kept, held_out, pooled, hyperparameters, settings, time.perf_counter() - started)


def _validation(data: BucketRows, part: int) -> tuple[Ragged | None, Moments | None]:
    return (data.within(part), data.held_out[part]) if len(data.held_out) == 1 else (None, None)


@dataclass(frozen=True)
class _Fold:
    """What is trained on, and what validates: the rows and their moments."""

    rows: Ragged
    moments: Moments
    val_rows: Ragged | None
    val_moments: Moments | None
    with_val_mse: bool = False

    def take(self, index_m: Tensor) -> _Fold:
        return _Fold(
            self.rows.take(index_m),
            self.moments.take(index_m),
            self.val_rows.take(index_m) if self.val_rows else None,
            self.val_moments.take(index_m) if self.val_moments else None,
            self.with_val_mse,
        )


def _cross_validate(data: BucketRows, hyperparameters: Hyperparameters, settings: TrainingSettings) -> Pooled:
    """Return how models of the other folds score on each; a dataset is left out of a fold that has none of its rows."""
    shape = hyperparameters.learning_rate_mg.shape
    pooled: Pooled | None = None
    for number, (part, others) in enumerate(zip(data.held_out, leaving_out(data.held_out), strict=True)):
        index_m = (part.num_rows_m > 0).nonzero()[:, 0]
        if len(index_m) == 0:
            continue
        fold = _Fold(data.training(number), others, data.within(number), part, with_val_mse=True)
        hyper = replace(hyperparameters, learning_rate_mg=hyperparameters.learning_rate_mg[index_m])
        fits = _fit_all(fold.take(index_m), hyper, settings, None)
        pooled = pooled or Pooled.empty(shape[0], shape[1], fits.train_curve_mge.shape[2])
        share_m11 = (part.num_rows_m / data.moments.num_rows_m)[index_m, None, None]
        pooled.loss_mge[index_m] += fits.val_curve_mge * share_m11
        pooled.mse_mge[index_m] += fits.val_mse_curve_mge * share_m11
        pooled.diverged_at_mg[index_m] = earlier(pooled.diverged_at_mg[index_m], fits.diverged_at_mg)
    assert pooled is not None  # noqa: S101 - every row is in some fold
    return pooled


def _fit_all(
    fold: _Fold, hyperparameters: Hyperparameters, settings: TrainingSettings, kept_index_mg: Tensor | None
) -> Fits:
    """Return the fits of all datasets; those with equally many batches to an epoch are fitted together."""
    number_m = num_batches(fold.rows.size_m, settings.batch_size)
    groups = [(number_m == number).nonzero()[:, 0] for number in sorted(set(number_m.tolist()))]
    parts = []
    for index_m in groups:
        rates_mg = hyperparameters.learning_rate_mg[index_m]
        kept_t = None if kept_index_mg is None else kept_index_mg[index_m].flatten()
        record = _fit(fold.take(index_m), replace(hyperparameters, learning_rate_mg=rates_mg), settings, kept_t)
        parts.append(record)
    return Fits.joined(parts, torch.cat(groups).argsort())


def _fit(
    fold: _Fold, hyperparameters: Hyperparameters, settings: TrainingSettings, kept_index_t: Tensor | None
) -> Fits:
    scaling = scaling_of(fold.moments, settings.bias) if settings.normalize else None
    z_mrq = fold.rows.padded(scaling, settings.torch_dtype, bias=settings.bias)
    val_moments = _scaled(fold.val_moments, scaling)
    record: Tracker = fit(
        z_mrq,
        Batches(fold.rows.size_m, settings.batch_size, settings.seed),
        _evaluator(z_mrq, fold.rows, _scaled(fold.moments, scaling), settings),
        _held_out_evaluator(fold.val_rows, val_moments, scaling, settings),
        hyperparameters,
        settings,
        kept_index_t=kept_index_t,
        val_mse_evaluator=MomentsEvaluator(val_moments) if fold.with_val_mse and val_moments else None,
    )
    return Fits.of(record, scaling, hyperparameters, settings.bias)


def _scaled(moments: Moments | None, scaling: Scaling | None) -> Moments | None:
    return scaling.apply(moments) if moments is not None and scaling is not None else moments


def _evaluator(z_mrq: Tensor, rows: Ragged, moments: Moments | None, settings: TrainingSettings) -> Evaluator:
    if settings.loss == "mse" and moments is not None:
        return MomentsEvaluator(moments)
    return RowsEvaluator(z_mrq, rows.size_m)


def _held_out_evaluator(
    rows: Ragged | None, moments: Moments | None, scaling: Scaling | None, settings: TrainingSettings
) -> Evaluator | None:
    if rows is None:
        return None
    if settings.loss == "mse" and moments is not None:
        return MomentsEvaluator(moments)
    return RowsEvaluator(rows.padded(scaling, settings.torch_dtype, bias=settings.bias), rows.size_m)


def _joined(parts: Sequence[BlockResult], order_m: Tensor, wall_s: float) -> BlockResult:
    """Return the results of all buckets as one, the datasets in the order given."""
    columns = [field.name for field in fields(BlockResult) if "_m" in field.name]
    joined: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts])[order_m] for name in columns}
    return replace(parts[0], wall_s=wall_s, **joined)
