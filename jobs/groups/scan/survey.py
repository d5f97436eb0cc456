"""Survey a source before it is scanned: the levels of its features, and the means of each group.

Shapes: n rows · m groups · v partial sums, several of one group · k raw features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from handler.rows.model_card import Feature
from jobs.groups.scan.kept_rows import kept_rows
from jobs.groups.scan.layout import Fills, Layout
from jobs.groups.scan.medians import Cells, cells_of, merge_cells
from jobs.groups.scan.packed import Floats
from jobs.groups.scan.partial import Extremes, extremes_of_rows, merge_extremes
from jobs.groups.scan.scan import chunk_rows
from jobs.sources.columns import Columns, Fragment
from jobs.sources.reading import prefetched, read_columns
from jobs.sources.resolved import dataset_in_errors, require_same_files
from jobs.sources.row_keys import row_keys
from jobs.sources.summaries import levels_of, total, with_levels
from jobs.sources.validation_split import TRAINS, Split, draw, fold_of_rows
from model_store.objects.s3_settings import S3Settings


@dataclass(frozen=True)
class Survey:
    """The data that encoding needs: the levels of each feature, and sums for the means of each group.

    `levels` have their numbers of rows that train. `sum_mk` and `count_mk` are of the present values in rows that
    train, for features that fill. `rows_m2` counts the rows that train and that validate; if a fraction validates,
    `extremes` have raw features. `first_k` is the first day of the rows that train (inf for a feature of another kind).
    `cells` has the values of features that fill with their median.
    """

    levels: tuple[Mapping[str, int], ...]
    name_m: pa.Array
    sum_mk: Floats
    count_mk: Floats
    rows_m2: Floats
    extremes: Extremes | None
    first_k: Floats
    cells: Cells

    def fills(self, features: Sequence[Feature], split: Split | None) -> Floats:
        """Return the value that replaces a missing one, by group and feature, NaN without values or a rule."""
        fill_mk = self.means()
        for k, feature in enumerate(features):
            if feature.missing == "median":
                here = self.cells.of(k)
                fill_mk[:, k] = here.medians(self._trains(here, split), len(self.name_m))
        return fill_mk

    def _trains(self, cells: Cells, split: Split | None) -> NDArray[np.bool_]:
        """Return which cells are in rows that train; see `fold_of_dataset`."""
        if split is None or self.extremes is None:
            return np.ones(len(cells.value_n), dtype=bool)
        code_n, draw_n = cells.code_n, cells.draw_n
        low_n, high_n = self.extremes.draw_m2[code_n].T
        trains_n: NDArray[np.bool_] = fold_of_rows(draw_n, split) == TRAINS
        trains_n &= (self.rows_m2[code_n, 1] > 0) | (draw_n != low_n)
        trains_n |= (self.rows_m2[code_n, 0] == 0) & (draw_n == high_n)
        return trains_n

    def means(self) -> Floats:
        """Return the mean of each feature over the rows that train, NaN without values; see `fold_of_dataset`."""
        sum_mk, count_mk = self.sum_mk, self.count_mk
        if self.extremes is not None:
            low_mk, high_mk = self.extremes.row_m2q[:, 0], self.extremes.row_m2q[:, 1]
            low_m1, high_m1 = self.extremes.count_m2[:, :1], self.extremes.count_m2[:, 1:]
            if low_mk.shape[1] > sum_mk.shape[1]:  # the weight of a row is last
                low_m1, high_m1 = low_m1 * low_mk[:, -1:], high_m1 * high_mk[:, -1:]
                low_mk, high_mk = low_mk[:, :-1], high_mk[:, :-1]
            # If no row validates, those with the lowest draw do. If none trains, those with the highest draw do.
            taken_mk = (self.rows_m2[:, 1:] == 0) & np.isfinite(low_mk)
            sum_mk = sum_mk - np.where(taken_mk, low_mk * low_m1, 0.0)
            count_mk = count_mk - np.where(taken_mk, low_m1, 0.0)
            given_mk = (self.rows_m2[:, :1] == 0) & np.isfinite(high_mk)
            sum_mk = np.where(given_mk, high_mk * high_m1, sum_mk)
            count_mk = np.where(given_mk, high_m1, count_mk)
        means_mk: Floats = np.where(count_mk > 0, sum_mk / np.where(count_mk > 0, count_mk, 1.0), np.nan)
        return means_mk


def needs_survey(features: Sequence[Feature]) -> bool:
    """Return whether a first pass over the rows is necessary, for levels or fill values."""
    return any(feature.kind == "categorical" or feature.fills or _is_of_first_day(feature) for feature in features)


def _is_of_first_day(feature: Feature) -> bool:
    return feature.kind == "datetime" and (math.isnan(feature.origin) or feature.parts != ("days",))


def survey(fragments: Sequence[Fragment], layout: Layout, s3: S3Settings, memory_mb: int) -> Survey:
    """Return the levels and the sums by group of the fragments."""
    rows_at_once = chunk_rows(len(layout.card.features), memory_mb)
    with dataset_in_errors(layout.dataset):
        require_same_files(fragments, s3)
        chunks = prefetched(read_columns(fragments, layout.wanted, s3, batch_rows=rows_at_once))
        return merge_surveys([_survey_chunk(columns, layout) for columns in chunks], layout.card.features)


def with_surveys(layout: Layout, surveys: Sequence[Survey]) -> Layout:
    """Return the layout with the levels and the fill values of the surveyed rows."""
    merged = merge_surveys(surveys, layout.card.features)
    features = with_levels(layout.card.features, [merged.levels], layout.min_counts)
    first_k = np.floor(np.where(np.isfinite(merged.first_k), merged.first_k, 0.0)).tolist()
    features = tuple(
        replace(feature, origin=first) if feature.kind == "datetime" and math.isnan(feature.origin) else feature
        for feature, first in zip(features, first_k, strict=True)
    )
    fills = Fills(merged.name_m, merged.fills(features, layout.split)) if layout.card.fills else None
    return replace(layout, card=replace(layout.card, features=features), fills=fills)


def _survey_chunk(read: Columns, layout: Layout) -> Survey:
    kept, features, split = kept_rows(read, layout), layout.card.features, layout.split
    columns, groups = kept.columns, kept.groups
    weight_n = None if layout.weights is None else _summed(layout.weights.of(columns))
    m, k = len(groups.name_m), len(features)
    filled = [at for at, feature in enumerate(features) if feature.fills]
    value_nk = np.full((columns.num_rows, k), np.nan)
    for at in filled:
        value_nk[:, at] = columns.numbers[features[at].name]
    trains_n, extremes, draw_n = np.ones(columns.num_rows, dtype=bool), None, np.zeros(columns.num_rows)
    if split is not None and split.fraction is not None:
        draw_n = draw(row_keys(columns, layout.row_names), split.seed)
        trains_n = fold_of_rows(draw_n, split) == TRAINS
        extremes = extremes_of_rows(draw_n, value_nk, groups.code_n, m, weight_n)
    sum_mk, count_mk = np.zeros((m, k)), np.zeros((m, k))
    for at in filled:
        here_n = trains_n & np.isfinite(value_nk[:, at])
        share_n = 1.0 if weight_n is None else weight_n[here_n]
        sum_mk[:, at] = np.bincount(groups.code_n[here_n], weights=value_nk[here_n, at] * share_n, minlength=m)
        counted = None if weight_n is None else share_n
        count_mk[:, at] = np.bincount(groups.code_n[here_n], weights=counted, minlength=m)
    rows_m2 = np.stack([np.bincount(groups.code_n[mask_n], minlength=m) for mask_n in (trains_n, ~trains_n)], axis=1)
    return Survey(
        levels=_levels(columns, features, trains_n),
        name_m=groups.name_m,
        sum_mk=sum_mk,
        count_mk=count_mk,
        rows_m2=rows_m2.astype(np.float64),
        extremes=extremes,
        first_k=np.array([_first_day(columns, feature, trains_n) for feature in features]),
        cells=cells_of(features, value_nk, groups.code_n, draw_n),
    )


def _levels(
    columns: Columns, features: Sequence[Feature], trains_n: NDArray[np.bool_]
) -> tuple[Mapping[str, int], ...]:
    """Return the levels of all rows, also of those that validate, with their numbers of rows that train."""
    found = levels_of(columns, features)
    if trains_n.all():
        return found
    counted = levels_of(columns, features, trains_n)
    return tuple({level: count.get(level, 0) for level in every} for every, count in zip(found, counted, strict=True))


def _first_day(columns: Columns, feature: Feature, trains_n: NDArray[np.bool_]) -> float:
    days_n = columns.numbers[feature.name][trains_n] if feature.kind == "datetime" else np.zeros(0)
    return float(np.fmin.reduce(days_n, initial=np.inf))


def _summed(weight_n: Floats) -> Floats:
    """Return weights that can be summed: 0 for what is none, which the scan refuses."""
    valid_n = np.isfinite(weight_n) & (weight_n > 0)
    return np.where(valid_n, weight_n, 0.0)


def merge_surveys(surveys: Sequence[Survey], features: Sequence[Feature]) -> Survey:
    """Return the survey of all rows together."""
    names = pa.chunked_array([each.name_m for each in surveys], pa.large_string()).combine_chunks().dictionary_encode()
    code_v = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    m, k = len(names.dictionary), len(features)
    sum_mk, count_mk, rows_m2 = np.zeros((m, k)), np.zeros((m, k)), np.zeros((m, 2))
    codes = np.split(code_v, np.cumsum([len(each.name_m) for each in surveys])[:-1])
    for each, index in zip(surveys, codes, strict=False):
        sum_mk[index] += each.sum_mk
        count_mk[index] += each.count_mk
        rows_m2[index] += each.rows_m2
    return Survey(
        levels=tuple(total(each.levels[at] for each in surveys) for at in range(k)),
        name_m=names.dictionary,
        sum_mk=sum_mk,
        count_mk=count_mk,
        rows_m2=rows_m2,
        extremes=merge_extremes([each.extremes for each in surveys], code_v, m),
        first_k=np.min([each.first_k for each in surveys], axis=0, initial=np.inf) if surveys else np.full(k, np.inf),
        cells=merge_cells([each.cells for each in surveys], codes, features),
    )
