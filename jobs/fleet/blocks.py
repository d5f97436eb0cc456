"""A block of rows, as read, to the moments of its groups: names, folds, encoded columns, and what can't be used.

Shapes: n rows · m groups of the block · k raw features · d encoded columns · q = d + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from handler.encoding import DOMAINS
from handler.model_card import ModelCard
from jobs.errors import DataError
from jobs.sources.checks import check_cells
from jobs.sources.columns import Columns, Text
from jobs.sources.dataset import encode_columns
from jobs.sources.fitting import Fit
from jobs.sources.row_keys import row_keys
from jobs.validation import TRAINS, draw, fold_of_rows
from model_store.s3_settings import S3Settings

from .packed import Codes, Floats, sum_rows
from .partial import Extremes, Partial, extremes_of

PLACED_FAILURES = 20  # of a block: to find a cell's line in a text file, the file is read again
SECOND_HASH = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Split:
    """Which rows validate: a fraction, or folds, by the seed and a row's content."""

    seed: int
    fraction: float | None = None
    folds: int | None = None

    @property
    def num_parts(self) -> int:
        return self.folds or 1


@dataclass(frozen=True)
class Fills:
    """What stands for a missing value, by group: `fill_mk` (raw units, NaN for a feature without the rule)."""

    name_m: pa.Array
    fill_mk: Floats

    def of(self, name_g: pa.Array) -> Floats:
        """Return the fill values of the named groups, NaN for a group without rows that train."""
        place = pc.index_in(name_g, self.name_m).fill_null(-1).to_numpy(zero_copy_only=False)
        filled: Floats = np.where(place[:, None] >= 0, self.fill_mk[place], np.nan)
        return filled


@dataclass(frozen=True)
class Layout:
    """How rows are read: the card with every level a column of its own, the columns that divide them, the split."""

    dataset: str
    card: ModelCard
    group_by: tuple[str, ...]
    split: Split | None
    fills: Fills | None

    @property
    def row_names(self) -> list[str]:
        """The columns that a row's hash is taken over."""
        return [*self.card.feature_names, self.card.target]


@dataclass(frozen=True)
class Groups:
    """The groups of a block: their names (large_string), and the group of each row."""

    name_m: pa.Array
    code_n: Codes


def groups_of(columns: Columns, layout: Layout) -> Groups:
    """Return the group of each row, named by its key; without `group_by` all rows are of the dataset's own."""
    if not layout.group_by:
        return Groups(pa.array([layout.dataset], pa.large_string()), np.zeros(columns.num_rows, dtype=np.int64))
    texts = [columns.texts[name] for name in layout.group_by]
    code_n = texts[0].code_n.astype(np.int64) + 1  # 0 is an empty cell
    for text in texts[1:]:
        code_n = code_n * (len(text.levels) + 1) + text.code_n + 1
    used, dense_n = _dense(code_n)
    names = list(_names(used, [text.levels for text in texts]))
    return Groups(pa.array(names, pa.large_string()), dense_n)


def _dense(code_n: Codes) -> tuple[Codes, Codes]:
    """Return the codes in use, rising, and each row's place among them."""
    if code_n.max(initial=0) > 4 * len(code_n) + 1024:
        used, dense_n = np.unique(code_n, return_inverse=True)
        return used, dense_n
    present = np.bincount(code_n) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[code_n]


def _names(used: Codes, levels: list[NDArray[np.object_]]) -> Iterator[str]:
    alone = len(levels) == 1
    for code in used.tolist():
        parts: list[str] = []
        rest = code
        for of_column in reversed(levels):
            rest, place = divmod(rest, len(of_column) + 1)
            parts.append("" if place == 0 else of_column[place - 1])
        yield parts[0] if alone and parts[0] else ",".join(map(_quoted, reversed(parts)))


def _quoted(part: str) -> str:
    """Return a part of a key as a csv cell, so that no two keys have one name; an empty cell is two quotes."""
    plain = part and not any(character in part for character in ',"\r\n')
    return part if plain else '"' + part.replace('"', '""') + '"'


def block_partial(columns: Columns, layout: Layout, s3: S3Settings) -> Partial:
    """Return what the rows of a block say of their groups; a group with a bad row is named, and the row left out."""
    groups = groups_of(columns, layout)
    bad_n = _bad_rows(columns, layout)
    failures = _failures(columns, layout, groups, bad_n, s3) if bad_n.any() else {}
    kept = np.flatnonzero(~bad_n) if failures else np.arange(columns.num_rows)
    x_nd = np.zeros((columns.num_rows, len(layout.card.columns)))
    x_nd[kept] = _encoded(columns, layout, groups, kept, s3)
    m, code_n = len(groups.name_m), groups.code_n[kept]
    y_n = columns.numbers[layout.card.target].astype(np.float64)[kept]
    x_nd = x_nd[kept] if failures else x_nd
    key_n = row_keys(columns, layout.row_names)[kept]
    part_n, draw_n = _parts(key_n, layout.split)
    num_parts = 1 + (layout.split.num_parts if layout.split else 0)
    packed = sum_rows(x_nd, y_n, code_n * num_parts + part_n, m * num_parts)
    low_mk, high_mk = _bounds(columns, layout, groups, kept[(part_n == 0) | _folds(layout)])
    return Partial(
        name_m=groups.name_m,
        moments_mrw=packed.reshape(m, num_parts, -1),
        low_mk=low_mk,
        high_mk=high_mk,
        hash_m2=_hash_sums(key_n, code_n, m),
        extremes=None if draw_n is None else _extremes(draw_n, x_nd, y_n, code_n, m),
        failures=failures,
    )


def _folds(layout: Layout) -> bool:
    return layout.split is not None and layout.split.folds is not None


def _bad_rows(columns: Columns, layout: Layout) -> NDArray[np.bool_]:
    """Return which rows hold a cell that can't be used, or no key."""
    card = layout.card
    bad_n = np.zeros(columns.num_rows, dtype=bool)
    for name in layout.group_by:
        bad_n |= columns.texts[name].code_n < 0
    target_n = columns.numbers[card.target]
    bad_n |= ~np.isfinite(target_n) if target_n.dtype.kind == "f" else False
    for feature in card.features:
        if feature.kind == "categorical":
            bad_n |= columns.texts[feature.name].code_n < 0
            continue
        value_n = columns.numbers[feature.name]
        if value_n.dtype.kind == "f":
            bad_n |= np.isinf(value_n) if feature.missing == "mean" else ~np.isfinite(value_n)
        if feature.transform is not None:
            domain = DOMAINS[feature.transform]
            inside = value_n >= domain.lower if domain.closed else value_n > domain.lower
            bad_n |= ~(inside | np.isnan(value_n))
    return bad_n


def _failures(
    columns: Columns, layout: Layout, groups: Groups, bad_n: NDArray[np.bool_], s3: S3Settings
) -> dict[str, str]:
    """Return the reason of each group with a bad row: what its first one is."""
    rows = np.flatnonzero(bad_n)
    codes, first = np.unique(groups.code_n[rows], return_index=True)
    names = groups.name_m.take(pa.array(codes)).to_pylist()
    return {
        name: _reason(columns, layout, int(rows[at]), s3, placed=number < PLACED_FAILURES)
        for number, (name, at) in enumerate(zip(names, first.tolist(), strict=True))
    }


def _reason(columns: Columns, layout: Layout, row: int, s3: S3Settings, *, placed: bool) -> str:
    at = f"{columns.fragment.location}: row {columns.first_row + row + 1}"
    for name in layout.group_by:
        if columns.texts[name].code_n[row] < 0:
            return f"{at}: the key column {name!r} is empty: fill it, or remove the row"
    if not placed and columns.fragment.delimiter is not None:
        return f"{at}: a cell is empty, infinite, or outside the domain of its transform"
    one = columns.slice(row, row + 1)
    try:
        check_cells(one, layout.card.features, layout.card.target, s3)
        encode_columns(_fit(layout, np.zeros(len(layout.card.features))), one, s3)
    except DataError as exc:
        return str(exc)
    raise AssertionError(f"{at} is not bad")


def _fit(layout: Layout, fill_k: Floats) -> Fit:
    nothing = np.full(len(layout.card.features), np.nan)
    return Fit(layout.card, fill_k, nothing, nothing)


def _encoded(columns: Columns, layout: Layout, groups: Groups, kept: NDArray[np.intp], s3: S3Settings) -> Floats:
    nothing = np.full(len(layout.card.features), np.nan)
    rows = columns if len(kept) == columns.num_rows else _rows(columns, kept)
    fill = layout.fills.of(groups.name_m)[groups.code_n[kept]] if layout.fills else nothing
    return encode_columns(_fit(layout, fill), rows, s3)


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


def _bounds(columns: Columns, layout: Layout, groups: Groups, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the least and the greatest raw value of each feature and of the target, by group; NaN for text."""
    m, card = len(groups.name_m), layout.card
    low_mk = np.full((m, len(card.features) + 1), np.nan)
    high_mk = low_mk.copy()
    code_n = groups.code_n[rows]
    names = [f.name if f.kind == "numeric" else None for f in card.features] + [card.target]
    for k, name in enumerate(names):
        if name is None:
            continue
        value_n = columns.numbers[name][rows].astype(np.float64)
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


def _extremes(draw_n: Floats, x_nd: Floats, y_n: Floats, code_n: Codes, num_groups: int) -> Extremes:
    row_nq = np.concatenate([x_nd, y_n[:, None]], axis=1)
    draw_n2 = np.stack([draw_n, draw_n], axis=1)
    return extremes_of(draw_n2, np.ones_like(draw_n2), np.stack([row_nq, row_nq], axis=1), code_n, num_groups)
