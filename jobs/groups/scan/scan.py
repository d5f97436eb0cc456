"""The scan task: read fragments once, in chunks of bounded size, and sum them by group.

Shapes: m groups · k raw features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from handler.model_card import Feature
from jobs.groups.scan.blocks import block_partial
from jobs.groups.scan.group_names import groups_of
from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.packed import Floats, packed_width
from jobs.groups.scan.partial import Extremes, Partial, Sums, extremes_of_rows, merge_extremes
from jobs.sources.columns import Columns, Fragment, Wanted
from jobs.sources.dataset import wanted_columns
from jobs.sources.reading import iterate, prefetched
from jobs.sources.resolved import dataset_in_errors
from jobs.sources.row_keys import row_keys
from jobs.sources.validation_split import TRAINS, draw, fold_of_rows
from model_store.objects.s3_settings import S3Settings

SHARE_OF_MEMORY = 4  # a chunk, the chunks read ahead, and their temporaries may take a quarter of a task's memory
MAX_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class ScanSummary:
    """The numbers of rows and chunks that a scan has read."""

    num_rows: int
    num_blocks: int


@dataclass(frozen=True)
class Survey:
    """The data that encoding needs: the levels of each categorical feature, and sums for the means of each group.

    `sum_mk` and `count_mk` are of the present values in rows that train, for features with the rule `mean`. `rows_m2`
    counts the rows that train and that validate; if a fraction validates, `extremes` have raw features.
    """

    levels: tuple[frozenset[str], ...]
    name_m: pa.Array
    sum_mk: Floats
    count_mk: Floats
    rows_m2: Floats
    extremes: Extremes | None

    def means(self) -> Floats:
        """Return the mean of each feature over the rows that train, NaN without values; see `fold_of_dataset`."""
        sum_mk, count_mk = self.sum_mk, self.count_mk
        if self.extremes is not None:
            low_mk, high_mk = self.extremes.row_m2q[:, 0], self.extremes.row_m2q[:, 1]
            low_m1, high_m1 = self.extremes.count_m2[:, :1], self.extremes.count_m2[:, 1:]
            # If no row validates, those with the lowest draw do. If none trains, those with the highest draw do.
            taken_mk = (self.rows_m2[:, 1:] == 0) & np.isfinite(low_mk)
            sum_mk = sum_mk - np.where(taken_mk, low_mk * low_m1, 0.0)
            count_mk = count_mk - np.where(taken_mk, low_m1, 0.0)
            given_mk = (self.rows_m2[:, :1] == 0) & np.isfinite(high_mk)
            sum_mk = np.where(given_mk, high_mk * high_m1, sum_mk)
            count_mk = np.where(given_mk, high_m1, count_mk)
        means_mk: Floats = np.where(count_mk > 0, sum_mk / np.maximum(count_mk, 1), np.nan)
        return means_mk


def block_rows(num_columns: int, memory_mb: int) -> int:
    """Return the rows of a chunk: with its temporaries it takes some six float64 for each column."""
    row_bytes = 8 * 6 * (num_columns + 1)
    return max(1024, min(MAX_BLOCK_ROWS, memory_mb * 2**20 // SHARE_OF_MEMORY // row_bytes))


def scan(
    fragments: Sequence[Fragment], layout: Layout, s3: S3Settings, memory_mb: int, num_parts: int
) -> tuple[ScanSummary | Partial, ...]:
    """Return a summary, then the groups of the fragments in `num_parts` parts.

    Raises DataError if a file can't be read in the configured format.
    """
    wanted = wanted_columns(layout.card.features, layout.card.target, layout.group_by)
    rows_at_once = block_rows(len(layout.card.columns), memory_mb)
    sums = Sums(num_parts)
    num_rows = num_blocks = 0
    with dataset_in_errors(layout.dataset):
        for columns in prefetched(iterate(fragments, wanted, s3, batch_rows=rows_at_once)):
            sums.add(block_partial(columns, layout, s3))
            num_rows, num_blocks = num_rows + columns.num_rows, num_blocks + 1
    parts = sums.parts() if num_blocks else (no_groups(layout),) * num_parts
    return (ScanSummary(num_rows, num_blocks), *parts)


def no_groups(layout: Layout) -> Partial:
    """Return the partial without groups."""
    num_parts = 1 + (layout.split.num_parts if layout.split else 0)
    d, k = len(layout.card.columns), len(layout.card.features)
    return Partial(
        name_m=pa.array([], pa.large_string()),
        moments_mrw=np.zeros((0, num_parts, packed_width(d))),
        low_mk=np.zeros((0, k + 1)),
        high_mk=np.zeros((0, k + 1)),
        hash_m2=np.zeros((0, 2), dtype=np.uint64),
        extremes=None,
        failures={},
    )


def needs_survey(features: Sequence[Feature]) -> bool:
    """Return whether a first pass over the rows is necessary, for levels or fill values."""
    return any(feature.kind == "categorical" or feature.missing == "mean" for feature in features)


def survey(fragments: Sequence[Fragment], layout: Layout, s3: S3Settings, memory_mb: int) -> Survey:
    """Return the levels and the sums by group of the fragments."""
    features = layout.card.features
    wanted: Sequence[Wanted] = wanted_columns(features, layout.card.target, layout.group_by)
    rows_at_once = block_rows(len(features), memory_mb)
    with dataset_in_errors(layout.dataset):
        parts = list(_surveys(prefetched(iterate(fragments, wanted, s3, batch_rows=rows_at_once)), layout))
    return merge_surveys(parts, len(features))


def _surveys(blocks: Iterator[Columns], layout: Layout) -> Iterator[Survey]:
    for columns in blocks:
        groups = groups_of(columns, layout)
        trains_n, draw_n = _who_trains(columns, layout)
        value_nk = _means_wanted(columns, layout)
        m, k = len(groups.name_m), value_nk.shape[1]
        sum_mk, count_mk = np.zeros((m, k)), np.zeros((m, k))
        for at in range(k):
            here_n = trains_n & np.isfinite(value_nk[:, at])
            sum_mk[:, at] = np.bincount(groups.code_n[here_n], weights=value_nk[here_n, at], minlength=m)
            count_mk[:, at] = np.bincount(groups.code_n[here_n], minlength=m)
        both = [np.bincount(groups.code_n[mask_n], minlength=m) for mask_n in (trains_n, ~trains_n)]
        rows_m2 = np.stack(both, axis=1).astype(np.float64)
        extremes = None if draw_n is None else extremes_of_rows(draw_n, value_nk, groups.code_n, m)
        yield Survey(_levels(columns, layout), groups.name_m, sum_mk, count_mk, rows_m2, extremes)


def _who_trains(columns: Columns, layout: Layout) -> tuple[NDArray[np.bool_], Floats | None]:
    """Return which rows train by their draw; and the draws, if a fraction validates."""
    split = layout.split
    if split is None or split.fraction is None:
        return np.ones(columns.num_rows, dtype=bool), None
    draw_n = draw(row_keys(columns, layout.row_names), split.seed)
    return fold_of_rows(draw_n, fraction=split.fraction, folds=None) == TRAINS, draw_n


def _means_wanted(columns: Columns, layout: Layout) -> Floats:
    """Return the raw values of the features with rule `mean`, NaN for the others, (n, k)."""
    value_nk = np.full((columns.num_rows, len(layout.card.features)), np.nan)
    for k, feature in enumerate(layout.card.features):
        if feature.missing == "mean":
            value_nk[:, k] = columns.numbers[feature.name]
    return value_nk


def _levels(columns: Columns, layout: Layout) -> tuple[frozenset[str], ...]:
    texts = [columns.texts[f.name] if f.kind == "categorical" else None for f in layout.card.features]
    return tuple(
        frozenset(text.levels[np.unique(text.code_n[text.code_n >= 0])]) if text else frozenset() for text in texts
    )


def merge_surveys(parts: Sequence[Survey], num_features: int) -> Survey:
    """Return the survey of all rows together."""
    names = pa.chunked_array([part.name_m for part in parts], pa.large_string()).combine_chunks()
    encoded = names.dictionary_encode()
    code_t = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    m = len(encoded.dictionary)
    sum_mk, count_mk, rows_m2 = np.zeros((m, num_features)), np.zeros((m, num_features)), np.zeros((m, 2))
    if parts:
        np.add.at(sum_mk, code_t, np.concatenate([part.sum_mk for part in parts]))
        np.add.at(count_mk, code_t, np.concatenate([part.count_mk for part in parts]))
        np.add.at(rows_m2, code_t, np.concatenate([part.rows_m2 for part in parts]))
    levels = tuple(frozenset().union(*(part.levels[k] for part in parts)) for k in range(num_features))
    extremes = merge_extremes([part.extremes for part in parts], code_t, m)
    return Survey(levels, encoded.dictionary, sum_mk, count_mk, rows_m2, extremes)
