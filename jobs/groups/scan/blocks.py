"""A block of rows, as read, to the moments of its groups: names, folds, encoded columns, and what can't be used.

Shapes: n rows · m groups of the block · k raw features · d encoded columns · q = d + 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jobs.groups.scan.bad_rows import bad_rows, fit_of, no_fill, reasons_of
from jobs.groups.scan.group_names import Groups, groups_of
from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.packed import Codes, Floats, sum_rows
from jobs.groups.scan.partial import Partial, extremes_of_rows
from jobs.sources.columns import Columns, Text
from jobs.sources.dataset import encode_columns
from jobs.sources.row_keys import row_keys
from jobs.sources.validation_split import TRAINS, Split, draw, fold_of_rows
from model_store.objects.s3_settings import S3Settings

SECOND_HASH = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Block:
    """The rows of a block that can be used, `row_n` of those read (None: all), encoded: the group and hash of each."""

    groups: Groups
    row_n: NDArray[np.intp] | None
    code_n: Codes
    key_n: NDArray[np.uint64]
    x_nd: Floats
    y_n: Floats
    failures: Mapping[str, str]


def encode_block(columns: Columns, layout: Layout, s3: S3Settings, *, order: Literal["C", "F"] = "C") -> Block:
    """Return the rows of a block, encoded; a group with a bad row is named, and the row left out.

    `order` is that of `x_nd` in memory: F takes less time to write and to sum, C to take rows from.
    """
    groups = groups_of(columns, layout)
    bad_n = bad_rows(columns, layout)
    failures = reasons_of(columns, layout, groups, bad_n, s3) if bad_n.any() else {}
    row_n = np.flatnonzero(~bad_n) if failures else None
    key_n, y_n = row_keys(columns, layout.row_names), columns.numbers[layout.card.target].astype(np.float64)
    if row_n is not None:
        groups = Groups(groups.name_m, groups.code_n[row_n])
        key_n, y_n, columns = key_n[row_n], y_n[row_n], _rows(columns, row_n)
    x_nd = np.empty((columns.num_rows, len(layout.card.columns)), order=order)
    fill = layout.fills.of(groups.name_m)[groups.code_n] if layout.fills else no_fill(layout)
    encode_columns(fit_of(layout, fill), columns, s3, x_nd)
    return Block(groups, row_n, groups.code_n, key_n, x_nd, y_n, failures)


def block_partial(columns: Columns, layout: Layout, s3: S3Settings) -> Partial:
    """Return what the rows of a block say of their groups."""
    return partial_of(encode_block(columns, layout, s3, order="F"), columns, layout)


def partial_of(block: Block, columns: Columns, layout: Layout) -> Partial:
    """Return what the rows of a block, encoded, say of their groups; `columns` are the rows as they were read."""
    m, code_n = len(block.groups.name_m), block.code_n
    part_n, draw_n = _parts(block.key_n, layout.split)
    num_parts = 1 + (layout.split.num_parts if layout.split else 0)
    packed = sum_rows(block.x_nd, block.y_n, code_n * num_parts + part_n, m * num_parts)
    row_nq = None if draw_n is None else np.column_stack([block.x_nd, block.y_n])
    used = columns if block.row_n is None else _rows(columns, block.row_n)
    trains_n = None if layout.split is None or _folds(layout) else part_n == 0
    low_mk, high_mk = _bounds(used, layout, block.groups, trains_n)
    return Partial(
        name_m=block.groups.name_m,
        moments_mrw=packed.reshape(m, num_parts, -1),
        low_mk=low_mk,
        high_mk=high_mk,
        hash_m2=_hash_sums(block.key_n, code_n, m),
        extremes=None if row_nq is None or draw_n is None else extremes_of_rows(draw_n, row_nq, code_n, m),
        failures=block.failures,
    )


def _folds(layout: Layout) -> bool:
    return layout.split is not None and layout.split.folds is not None


def _rows(columns: Columns, kept: NDArray[np.intp]) -> Columns:
    numbers = {name: value_n[kept] for name, value_n in columns.numbers.items()}
    texts = {name: Text(text.code_n[kept], text.levels) for name, text in columns.texts.items()}
    return Columns(columns.fragment, columns.first_row, len(kept), numbers, texts)


def _parts(key_n: NDArray[np.uint64], split: Split | None) -> tuple[Codes, Floats | None]:
    """Return the part of each row (0: it only trains; else 1 + its fold), and what it drew."""
    if split is None:
        return np.zeros(len(key_n), dtype=np.int64), None
    draw_n = draw(key_n, split.seed)
    fold_n = fold_of_rows(draw_n, fraction=split.fraction, folds=split.folds)
    return fold_n.astype(np.int64) - TRAINS, draw_n


def _bounds(
    columns: Columns, layout: Layout, groups: Groups, trains_n: NDArray[np.bool_] | None
) -> tuple[Floats, Floats]:
    """Return the least and the greatest raw value of each feature and of the target, by group; NaN for text.

    Of the rows that train (None: all of them).
    """
    m, card = len(groups.name_m), layout.card
    low_mk = np.full((m, len(card.features) + 1), np.nan)
    high_mk = low_mk.copy()
    code_n = groups.code_n if trains_n is None else groups.code_n[trains_n]
    names = [f.name if f.kind == "numeric" else None for f in card.features] + [card.target]
    for k, name in enumerate(names):
        if name is None:
            continue
        value_n = columns.numbers[name] if trains_n is None else columns.numbers[name][trains_n]
        if m == 1 and len(value_n):
            low_mk[0, k], high_mk[0, k] = np.fmin.reduce(value_n), np.fmax.reduce(value_n)
            continue
        low_m, high_m = np.full(m, np.nan), np.full(m, np.nan)
        np.fmin.at(low_m, code_n, value_n)
        np.fmax.at(high_m, code_n, value_n)
        low_mk[:, k], high_mk[:, k] = low_m, high_m
    return low_mk, high_mk


def _hash_sums(key_n: NDArray[np.uint64], code_n: Codes, num_groups: int) -> NDArray[np.uint64]:
    sums_m2 = np.zeros((num_groups, 2), dtype=np.uint64)
    second_n = (key_n ^ (key_n >> np.uint64(29))) * SECOND_HASH
    if num_groups == 1:
        sums_m2[0] = key_n.sum(dtype=np.uint64), second_n.sum(dtype=np.uint64)
        return sums_m2
    np.add.at(sums_m2[:, 0], code_n, key_n)
    np.add.at(sums_m2[:, 1], code_n, second_n)
    return sums_m2
