"""Turn a chunk of rows into the moments of its groups: names, folds, encoded columns, and errors of bad rows.

Shapes: n rows · m groups of the chunk · k raw features, and the target last · d encoded columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.groups.scan.group_names import Groups, groups_of
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import Codes, Floats, sum_rows
from jobs.groups.scan.partial import Partial, extremes_of_rows
from jobs.sources.checks import bad_rows, error_of_row
from jobs.sources.columns import Columns
from jobs.sources.dataset import encode_columns
from jobs.sources.row_keys import Keys, row_keys
from jobs.sources.summaries import bounds_of
from jobs.sources.validation_split import TRAINS, draw, fold_of_rows
from model_store.objects.s3_settings import S3Settings

SECOND_HASH = np.uint64(0xD6E8FEB86659FD93)
PLACED_ERRORS = 20  # of a chunk: to find the line of a cell in a text file, the file is read again


@dataclass(frozen=True)
class EncodedChunk:
    """The valid rows of a chunk: raw and encoded, with the groups and the hash of each; errors of the bad rows."""

    columns: Columns
    groups: Groups
    key_n: Keys
    x_nd: Floats
    y_n: Floats
    failures: Mapping[str, str]


def encode_chunk(columns: Columns, layout: Layout, s3: S3Settings, *, order: Literal["C", "F"] = "C") -> EncodedChunk:
    """Return the valid rows of a chunk, encoded; `failures` has the groups of the other rows.

    `order` is the memory order of `x_nd`: F is faster to write and to sum, C is faster to index by rows.
    """
    groups, failures = groups_of(columns, layout), {}
    bad_n = bad_rows(columns, layout.card.features, layout.card.target, layout.group_by)
    if bad_n.any():
        failures = _errors(columns, layout, groups, bad_n, s3)
        valid = np.flatnonzero(~bad_n)
        groups, columns = Groups(groups.name_m, groups.code_n[valid]), columns.take(valid)
    x_nd = np.empty((columns.num_rows, len(layout.card.columns)), order=order)
    fill_mk = layout.fill_of(groups.name_m)
    encode_columns(layout.card, None if fill_mk is None else fill_mk[groups.code_n], columns, s3, x_nd)
    y_n = columns.numbers[layout.card.target].astype(np.float64)
    return EncodedChunk(columns, groups, row_keys(columns, layout.row_names), x_nd, y_n, failures)


def _errors(
    columns: Columns, layout: Layout, groups: Groups, bad_n: NDArray[np.bool_], s3: S3Settings
) -> dict[str, str]:
    """Return the error of the first bad row of each group."""
    rows = np.flatnonzero(bad_n)
    codes, first = np.unique(groups.code_n[rows], return_index=True)
    names = groups.name_m.take(pa.array(codes)).to_pylist()
    errors = {}
    for number, (name, row) in enumerate(zip(names, rows[first].tolist(), strict=True)):
        if number < PLACED_ERRORS or not columns.fragment.format.rereads_for_cell:
            errors[name] = error_of_row(columns, row, layout.card.features, layout.card.target, s3, layout.group_by)
        else:
            place = f"{columns.fragment.location}: row {columns.first_row + row + 1}"
            errors[name] = f"{place}: a cell is empty, infinite, or outside the domain of its transform"
    return errors


def partial_of(chunk: EncodedChunk, layout: Layout) -> Partial:
    """Return the partial aggregates of the groups of a chunk."""
    m, code_n, split, card = len(chunk.groups.name_m), chunk.groups.code_n, layout.split, layout.card
    num_folds, extremes, trains_n = 0, None, None
    fold_n = np.zeros(len(code_n), dtype=np.int64)
    if split is not None:
        num_folds, draw_n = split.num_folds, draw(chunk.key_n, split.seed)
        fold_n = fold_of_rows(draw_n, split).astype(np.int64) - TRAINS
        extremes = extremes_of_rows(draw_n, np.column_stack([chunk.x_nd, chunk.y_n]), code_n, m)
        trains_n = None if split.folds else fold_n == 0
    packed = sum_rows(chunk.x_nd, chunk.y_n, code_n * (1 + num_folds) + fold_n, m * (1 + num_folds))
    low_mk, high_mk = bounds_of(chunk.columns, card.features, card.target, code_n, m, trains_n)
    return Partial(
        name_m=chunk.groups.name_m,
        moments_mhf=packed.reshape(m, 1 + num_folds, -1),
        low_mk=low_mk,
        high_mk=high_mk,
        hash_m2=_hash_sums(chunk.key_n, code_n, m),
        extremes=extremes,
        failures=chunk.failures,
    )


def _hash_sums(key_n: NDArray[np.uint64], code_n: Codes, num_groups: int) -> NDArray[np.uint64]:
    sums_m2 = np.zeros((num_groups, 2), dtype=np.uint64)
    second_n = (key_n ^ (key_n >> np.uint64(29))) * SECOND_HASH
    if num_groups == 1:
        sums_m2[0] = key_n.sum(dtype=np.uint64), second_n.sum(dtype=np.uint64)
        return sums_m2
    np.add.at(sums_m2[:, 0], code_n, key_n)
    np.add.at(sums_m2[:, 1], code_n, second_n)
    return sums_m2
