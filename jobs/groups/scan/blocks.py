"""Turn a chunk of rows into the moments of its groups: names, folds, encoded columns, and bad rows.

Shapes: n rows · m groups of the chunk · k raw features · d encoded columns · q = d + 1.
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
    """The valid rows of a chunk (`row_n`; None: all), encoded, with the group and the hash of each."""

    groups: Groups
    row_n: NDArray[np.intp] | None
    code_n: Codes
    key_n: NDArray[np.uint64]
    x_nd: Floats
    y_n: Floats
    failures: Mapping[str, str]


def encode_block(columns: Columns, layout: Layout, s3: S3Settings, *, order: Literal["C", "F"] = "C") -> Block:
    """Return the rows of a chunk, encoded, without bad rows; their groups are in `failures`.

    `order` is the memory order of `x_nd`: F is faster to write and to sum, C is faster to index by rows.
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
    """Return the partial aggregates of the groups of a chunk."""
    return partial_of(encode_block(columns, layout, s3, order="F"), columns, layout)


def partial_of(block: Block, columns: Columns, layout: Layout) -> Partial:
    """Return the partial aggregates of the groups of an encoded chunk; `columns` are its raw rows."""
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
    """Return 0 for each row that only trains, else 1 + its fold; and the draw of each row."""
    if split is None:
        return np.zeros(len(key_n), dtype=np.int64), None
    draw_n = draw(key_n, split.seed)
    fold_n = fold_of_rows(draw_n, fraction=split.fraction, folds=split.folds)
    return fold_n.astype(np.int64) - TRAINS, draw_n


def _bounds(
    columns: Columns, layout: Layout, groups: Groups, trains_n: NDArray[np.bool_] | None
) -> tuple[Floats, Floats]:
    """Return the minimum and the maximum of each raw feature and of the target, by group; NaN for text.

    Only rows that train count (None: all rows).
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
