"""What a scan task does: read fragments once, in blocks of bounded size, and sum them by group.

Shapes: m groups · k raw features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from handler.model_card import Feature
from jobs.sources.columns import Columns, Fragment, Wanted
from jobs.sources.dataset import naming, wanted_columns
from jobs.sources.reading import iterate, prefetched
from jobs.sources.row_keys import row_keys
from jobs.validation import TRAINS, draw, fold_of_rows
from model_store.s3_settings import S3Settings

from .blocks import Layout, block_partial, groups_of
from .packed import Floats, packed_width
from .partial import Partial, merge

MERGE_AT_GROUPS = 1 << 19  # partials are merged when so many rows of sums have come together
SHARE_OF_MEMORY = 8  # a block and what is made of it may take so much of a task's memory: an eighth each
MAX_BLOCK_ROWS = 1 << 18


@dataclass(frozen=True)
class ScanSummary:
    """What a scan has read."""

    num_rows: int
    num_blocks: int


@dataclass(frozen=True)
class Survey:
    """What has to be known before rows can be encoded: the levels of each categorical feature, and sums by group.

    `sum_mk` and `count_mk` are of the values that are present in the rows that train, of the features with rule `mean`.
    """

    levels: tuple[frozenset[str], ...]
    name_m: pa.Array
    sum_mk: Floats
    count_mk: Floats


def block_rows(num_columns: int, memory_mb: int) -> int:
    """Return how many rows a block has: what is made of one takes some ten float64 for each of its columns."""
    row_bytes = 8 * 10 * (num_columns + 1)
    return max(1024, min(MAX_BLOCK_ROWS, memory_mb * 2**20 // SHARE_OF_MEMORY // row_bytes))


def scan(
    fragments: Sequence[Fragment], layout: Layout, s3: S3Settings, memory_mb: int, num_parts: int
) -> tuple[ScanSummary | Partial, ...]:
    """Return a summary, then the groups of the fragments dealt to `num_parts` parts.

    Raises DataError where a file can't be read as what the configuration says it is.
    """
    wanted = wanted_columns(layout.card.features, layout.card.target, layout.group_by)
    rows_at_once = block_rows(len(layout.card.columns), memory_mb)
    merged: list[Partial] = []
    pending: list[Partial] = []
    num_rows = num_blocks = 0
    with naming(layout.dataset):
        for columns in prefetched(iterate(fragments, wanted, s3, batch_rows=rows_at_once)):
            pending.append(block_partial(columns, layout, s3))
            num_rows, num_blocks = num_rows + columns.num_rows, num_blocks + 1
            if sum(partial.num_groups for partial in pending) >= MERGE_AT_GROUPS or len(pending) >= 64:
                merged = [merge([*merged, *pending])]
                pending = []
        if not merged and not pending:
            return (ScanSummary(0, 0), *[_nothing(layout)] * num_parts)
        whole = merge([*merged, *pending])
    return (ScanSummary(num_rows, num_blocks), *whole.split(num_parts))


def _nothing(layout: Layout) -> Partial:
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
    """Return whether the rows have to be read once before, for levels or fill values."""
    return any(feature.kind == "categorical" or feature.missing == "mean" for feature in features)


def survey(fragments: Sequence[Fragment], layout: Layout, s3: S3Settings, memory_mb: int) -> Survey:
    """Return the levels and the sums by group of the fragments."""
    features = layout.card.features
    wanted: Sequence[Wanted] = wanted_columns(features, layout.card.target, layout.group_by)
    rows_at_once = block_rows(len(features), memory_mb)
    with naming(layout.dataset):
        parts = list(_surveys(prefetched(iterate(fragments, wanted, s3, batch_rows=rows_at_once)), layout))
    return merge_surveys(parts, len(features))


def _surveys(blocks: Iterator[Columns], layout: Layout) -> Iterator[Survey]:
    features, split = layout.card.features, layout.split
    for columns in blocks:
        groups = groups_of(columns, layout)
        trains_n = np.ones(columns.num_rows, dtype=bool)
        if split is not None and split.fraction is not None:
            draw_n = draw(row_keys(columns, layout.row_names), split.seed)
            trains_n = fold_of_rows(draw_n, fraction=split.fraction, folds=None) == TRAINS
        m = len(groups.name_m)
        sum_mk, count_mk = np.zeros((m, len(features))), np.zeros((m, len(features)))
        levels: list[frozenset[str]] = []
        for k, feature in enumerate(features):
            if feature.kind == "categorical":
                text = columns.texts[feature.name]
                levels.append(frozenset(text.levels[np.unique(text.code_n[text.code_n >= 0])]))
                continue
            levels.append(frozenset())
            if feature.missing == "mean":
                value_n = columns.numbers[feature.name].astype(np.float64)
                here_n = trains_n & np.isfinite(value_n)
                sum_mk[:, k] = np.bincount(groups.code_n[here_n], weights=value_n[here_n], minlength=m)
                count_mk[:, k] = np.bincount(groups.code_n[here_n], minlength=m)
        yield Survey(tuple(levels), groups.name_m, sum_mk, count_mk)


def merge_surveys(parts: Sequence[Survey], num_features: int) -> Survey:
    """Return what all parts together say."""
    names = pa.chunked_array([part.name_m for part in parts], pa.large_string()).combine_chunks()
    encoded = names.dictionary_encode()
    code_t = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    m = len(encoded.dictionary)
    sum_mk, count_mk = np.zeros((m, num_features)), np.zeros((m, num_features))
    if parts:
        np.add.at(sum_mk, code_t, np.concatenate([part.sum_mk for part in parts]))
        np.add.at(count_mk, code_t, np.concatenate([part.count_mk for part in parts]))
    levels = tuple(frozenset().union(*(part.levels[k] for part in parts)) for k in range(num_features))
    return Survey(levels, encoded.dictionary, sum_mk, count_mk)
