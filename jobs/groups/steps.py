"""The functions of the tasks of a source: tasks exchange sums for the closed form, rows for minibatches of groups.

A single dataset is too large for that: for minibatches its task reads it again in every epoch.

Shapes: n rows · m groups · d encoded columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from jobs.cluster.checkpoint_stream import Saves
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training, bucket_training
from jobs.engines.minibatch.bucket_training import BucketRows
from jobs.engines.minibatch.ragged import Ragged
from jobs.engines.minibatch.streaming import StreamedRows
from jobs.engines.trials import BlockResult
from jobs.groups.scan.packed import Codes
from jobs.groups.scan.partial import Partial, merge
from jobs.groups.scan.rows import Rows
from jobs.groups.scan.scan import scan
from jobs.groups.scan.stream import RowStream, Source
from jobs.groups.scan.trainable import Trainable
from jobs.groups.training import GroupsSpec, PartResult, train_groups, train_part
from jobs.recipe import Recipe
from jobs.sources.resolved import ResolvedSource
from jobs.sources.validation_split import Folds, Split, draw, fold_of_dataset, fold_of_rows
from jobs.training.checkpoints import DatasetCheckpoints, Place, Telling, fits_of


@dataclass(frozen=True)
class Phases:
    """The functions of the tasks of a source: read fragments, add up the results of several for a part, and train it.

    If training saves, its first arguments are the name of its training checkpoints and the seconds between them.
    """

    scan: Callable[..., Any]
    add_up: Callable[..., Any]
    train: Callable[..., Any]
    rows_travel: bool = False
    saves: bool = False


def _summed(*partials: Partial) -> tuple[None, Partial]:
    return None, merge(partials)


def names_of(*sums: Partial) -> list[str]:
    """Return the names of the groups of a part, each once."""
    return sorted({name for each in sums for name in each.name_m.to_pylist()})


def phases_of(recipe: Recipe, source: ResolvedSource) -> Phases:
    """Return the functions of the tasks of a source under a recipe."""
    if recipe.engine == "closed_form":
        return Phases(scan, _summed, train_part)
    if source.group_by:
        return Phases(partial(scan, keep_rows=True), _summed, train_rows_part, rows_travel=True, saves=True)
    read_again = Source(source.fragments, source.s3, recipe.memory_mb)
    return Phases(scan, _summed, partial(train_streamed, read_again), saves=True)


def train_rows_part(name: str, every_s: float, spec: GroupsSpec, *arguments: Any) -> PartResult:
    """Return the groups trained at every grid point, by minibatches of their rows.

    The fits are short, so they are told and not saved. The arguments are those of `train_streamed`.
    """
    *partials, saves = arguments
    merged = merge(partials)
    assert merged.rows is not None  # noqa: S101 - the scan has kept them
    rows = merged.rows.ordered()
    start_m = np.searchsorted(rows.code_n, np.arange(merged.num_groups + 1))

    def engine(groups: Trainable, hyper: Hyperparameters, want_curves: bool) -> BlockResult:
        data = _bucket_rows(rows, start_m, groups, spec.layout.split)
        return bucket_training.train(data, hyper, spec.recipe.settings, want_curves=want_curves, telling=telling)

    def telling(before: float, after: float) -> Telling:
        return Telling(saves, Place(before, after, _num_fits(spec)))

    return train_groups(spec, merged, engine)


def train_streamed(source: Source, name: str, every_s: float, spec: GroupsSpec, *arguments: Any) -> PartResult:
    """Return the dataset of the source trained at every grid point; it saves a training checkpoint every `every_s`.

    It does not fit in memory: each epoch reads it again. The arguments are the partials of all its rows, and the task's
    `checkpoint_stream.Saves`.
    """
    *partials, saves = arguments
    settings, checkpoints = spec.recipe.settings, _streamed_checkpoints(spec, name, every_s, saves)

    def engine(groups: Trainable, hyper: Hyperparameters, want_curves: bool) -> BlockResult:
        stream = _stream(source, spec, groups)
        rows = StreamedRows(stream, groups.moments, groups.held_out)
        result = block_training.train(rows, hyper, settings, checkpoints)
        return result if want_curves else result.last_epoch_only()

    return train_groups(spec, merge(partials), engine)


def _streamed_checkpoints(spec: GroupsSpec, name: str, every_s: float, saves: Saves) -> DatasetCheckpoints:
    return DatasetCheckpoints(name, every_s, saves, Place(num_fits=_num_fits(spec)))


def _num_fits(spec: GroupsSpec) -> int:
    split = spec.layout.split
    return fits_of(split.folds or 0) if split else 1


def _stream(source: Source, spec: GroupsSpec, groups: Trainable) -> RowStream:
    settings = spec.recipe.settings
    how = (settings.bias, settings.seed, settings.torch_dtype, settings.loss)
    return RowStream(source, spec.layout, groups.column_d, *how)


def _bucket_rows(rows: Rows, start_m: Codes, groups: Trainable, split: Split | None) -> BucketRows:
    """Return the rows of some of the groups, in the columns of their model card, and the fold that holds each out."""
    size_m = np.diff(start_m)[groups.place_m]
    first_m = np.cumsum(size_m) - size_m
    row_n = np.arange(size_m.sum()) + np.repeat(start_m[:-1][groups.place_m] - first_m, size_m)
    fold_n = None if split is None else _folds(draw(rows.key_n[row_n], split.seed), first_m, split)
    return BucketRows(
        rows=Ragged(
            x_nd=torch.from_numpy(rows.x_nd[np.ix_(row_n, groups.column_d)]),
            y_n=torch.from_numpy(rows.y_n[row_n]),
            place_n=torch.arange(len(row_n)),
            size_m=torch.from_numpy(size_m),
            weight_n=None if rows.weight_n is None else torch.from_numpy(rows.weight_n[row_n]),
        ),
        fold_n=None if fold_n is None else torch.from_numpy(fold_n),
        all_rows=groups.moments,
        held_out=groups.held_out,
    )


def _folds(draw_n: np.ndarray, first_m: Codes, split: Split) -> Folds:
    """Return the fold in which each row validates; see `fold_of_dataset`."""
    fold_n = fold_of_rows(draw_n, split)
    alone_m = np.minimum.reduceat(fold_n, first_m) == np.maximum.reduceat(fold_n, first_m)
    for start, stop in zip(first_m[alone_m], np.append(first_m, len(fold_n))[1:][alone_m], strict=True):
        fold_n[start:stop] = fold_of_dataset(draw_n[start:stop], split)
    return fold_n
