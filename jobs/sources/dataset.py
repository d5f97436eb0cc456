"""Read a dataset into memory: check its rows, fit the model card, and encode them.

Shapes: n rows · m = 1 dataset · k raw features · d encoded columns.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from handler.errors import EncodingError
from handler.rows.encoding import encode
from handler.rows.model_card import Feature, ModelCard
from handler.rows.transforms import transformed_target
from jobs.errors import DataError
from jobs.sources.checks import (
    Mask,
    bad_rows,
    error_of_row,
    left_out_of,
    left_out_reasons,
    left_out_rows,
    no_row_left,
    too_few_rows,
    untrainable,
)
from jobs.sources.choosing import choose_columns
from jobs.sources.column_facts import WANTED
from jobs.sources.columns import Columns, Wanted
from jobs.sources.reading import read_columns
from jobs.sources.resolved import ResolvedSource, dataset_in_errors
from jobs.sources.room import require_room_for_rows
from jobs.sources.row_keys import Keys, canonical_order, row_keys
from jobs.sources.row_weights import RowWeights, present
from jobs.sources.summaries import bounds_of, levels_of, with_levels
from jobs.sources.validation_split import TRAINS, Folds, draw, fold_of_dataset
from model_store.objects.s3_settings import S3Settings

ROWS_AT_ONCE = 1 << 16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """A dataset that can be regressed on.

    `x_nd` and `y_n` are float64. The rows are in the order of reading (files by path), or in canonical order, by their
    content, for minibatches. `fill_k`, `feature_min_k` and `feature_max_k` are of the rows that train, in raw units,
    and NaN for a feature without them. `fold_n` is the fold in which each row validates (`TRAINS` if it only trains),
    None without validation.
    `fingerprint` is a sha256, as hex, of the columns' names and the encoded rows in their order. `weight_n` are the
    weights of the rows, above 0 (None: all are 1), which with `frequency` say how often each was seen.
    `left_out` counts the rows that are left out, by reason; `unused` has the reasons of columns that are of no use.
    """

    name: str
    card: ModelCard
    fill_k: Floats
    feature_min_k: Floats
    feature_max_k: Floats
    x_nd: Floats
    y_n: Floats
    fold_n: Folds | None
    fingerprint: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    weight_n: Floats | None = None
    frequency: bool = False

    @property
    def num_rows(self) -> int:
        """The number of rows, with those that validate."""
        return len(self.y_n)


def read_dataset(
    source: ResolvedSource, *, bias: bool, ridge: bool = False, in_canonical_order: bool = False
) -> Dataset:
    """Return the dataset of a source.

    With `ridge`, weight decay determines the weights even of fewer rows. In canonical order the rows do not depend on
    how they were read; see `row_keys.canonical_order`.
    Raises DataError if it can't be read or regressed on, and SourceError if its storage can't be reached.
    """
    source = choose_columns(source)
    with dataset_in_errors(source.name):
        chunks, left_out = _read(source)
        raw_n = np.concatenate([chunk.numbers[source.target] for chunk in chunks])
        y_n = transformed_target(source.target_transform, raw_n)
        weight_n = _weights(source, chunks)
        key_n = _keys(source, chunks) if source.split or in_canonical_order else np.zeros(0, np.uint64)
        fold_n = fold_of_dataset(draw(key_n, source.split.seed), source.split) if source.split else None
        trains_n = _trains(fold_n, len(y_n))
        masks = np.split(trains_n, np.cumsum([chunk.num_rows for chunk in chunks])[:-1])
        card = _fit_card(source, chunks, masks, bias)
        low_k, high_k = _bounds(source, chunks, masks)
        fill_k = np.array([_fill(feature, chunks, masks, source.weights) for feature in source.features])
        _refuse(untrainable(card, np.array([trains_n.sum()]), low_k[None], high_k[None], fill_k[None]).get(0))
        order_n = canonical_order(key_n) if in_canonical_order else np.arange(len(y_n))
        x_nd, y_n, trains_n = _encode_all(card, fill_k, chunks, order_n, source.s3), y_n[order_n], trains_n[order_n]
        weight_n = None if weight_n is None else weight_n[order_n]
        _refuse(None if ridge else _why_too_few(x_nd, trains_n, bias))
        return Dataset(
            name=source.name,
            card=card,
            fill_k=fill_k,
            feature_min_k=low_k[:-1],
            feature_max_k=high_k[:-1],
            x_nd=x_nd,
            y_n=y_n,
            fold_n=None if fold_n is None else fold_n[order_n],
            fingerprint=fingerprint(card, x_nd, y_n, weight_n),
            left_out=left_out,
            unused=source.unused,
            weight_n=weight_n,
            frequency=source.weights is not None and source.weights.kind == "frequency",
        )


def wanted_columns(
    features: Sequence[Feature], target: str, group_by: Sequence[str] = (), weights: RowWeights | None = None
) -> tuple[Wanted, ...]:
    """Return the columns to read: the features, the target, the columns of the group key, and that of the weights."""
    return (
        *(Wanted(feature.name, WANTED[feature.kind]) for feature in features),
        Wanted(target),
        *(Wanted(name, "text") for name in group_by),
        *([Wanted(weights.column)] if weights else []),
    )


def encode_columns(
    card: ModelCard,
    fill: Floats | None,
    columns: Columns,
    s3: S3Settings,
    out: NDArray[np.floating] | None = None,
) -> NDArray[np.floating]:
    """Return the encoded rows, (n, d); see `encode`. Raises DataError, with file and row, for what can't be encoded."""
    raw = {name: columns.numbers[name] for name in card.feature_names if name in columns.numbers}
    raw |= {name: columns.texts[name].cells() for name in card.feature_names if name in columns.texts}
    try:
        return encode(card, raw, fill, out=out)
    except EncodingError as exc:
        place, _ = columns.fragment.format.cell(columns, exc.row, exc.feature, s3)
        unseen = (
            ". The row validates: set 'unseen: reference', or another seed"
            if "training did not see" in str(exc)
            else ""
        )
        raise DataError(f"{place}: {exc}{unseen}") from exc


def fingerprint(card: ModelCard, x_nd: Floats, y_n: Floats, weight_n: Floats | None = None) -> str:
    """Return the sha256, as hex, of the columns' names and the rows in their order, with their weights."""
    digest = hashlib.sha256("\n".join([*card.columns, card.target]).encode())
    digest.update(np.ascontiguousarray(x_nd).data)
    digest.update(np.ascontiguousarray(y_n).data)
    if weight_n is not None:
        digest.update(np.ascontiguousarray(weight_n).data)
    return digest.hexdigest()


def _read(source: ResolvedSource) -> tuple[list[Columns], dict[str, int]]:
    """Return the rows of each fragment that stay, and how many were left out, by reason.

    Raises DataError at the first bad row, and if no row is left.
    """
    chunks, target, counts, weights = [], source.target_feature, Counter[int](), source.weights
    wanted = wanted_columns(source.features, source.target, weights=weights)
    for read in read_columns(source.fragments, wanted, source.s3):
        chunk = present(read, weights)
        reason_n = left_out_rows(chunk, source.features, target)
        if reason_n is not None:
            counts.update(reason_n[reason_n >= 0].tolist())
            chunk = chunk.take(np.flatnonzero(reason_n < 0))
        bad_n = bad_rows(chunk, source.features, target, weights=weights)
        if bad_n.any():
            row = int(bad_n.argmax())
            raise DataError(error_of_row(chunk, row, source.features, target, source.s3, weights=weights))
        chunks.append(chunk)
    reasons = left_out_reasons(source.features, target)
    left_out = left_out_of(reasons, [counts[at] for at in range(len(reasons))])
    if not any(chunk.num_rows for chunk in chunks):
        locations = ", ".join(source.locations)
        empty = "the table is empty: it has columns and no rows: add rows"
        raise DataError(f"{locations}: {no_row_left(left_out) if left_out else empty}")
    return chunks, left_out


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise DataError(reason)


def _why_too_few(x_nd: Floats, trains_n: Mask, bias: bool) -> str | None:
    """Return the reason of fewer rows than weights, unless some rows depend on others."""
    num_rows, num_weights = int(trains_n.sum()), x_nd.shape[1] + bias
    if num_rows >= num_weights:
        return None
    around_nd = x_nd[trains_n] - (x_nd[trains_n].mean(0) if bias else 0.0)
    size_d = np.abs(around_nd).max(0)
    rank = np.linalg.matrix_rank(around_nd / np.where(size_d > 0, size_d, 1.0)) + bias
    return too_few_rows(num_rows, num_weights) if rank >= num_rows else None


def _keys(source: ResolvedSource, chunks: Sequence[Columns]) -> Keys:
    names = [*(feature.name for feature in source.features), source.target]
    names += [source.weights.column] if source.weights else []
    return np.concatenate([row_keys(chunk, names) for chunk in chunks])


def _weights(source: ResolvedSource, chunks: Sequence[Columns]) -> Floats | None:
    return None if source.weights is None else np.concatenate([source.weights.of(chunk) for chunk in chunks])


def _trains(fold_n: Folds | None, num_rows: int) -> Mask:
    """Return which rows train. With folds all rows train, each in the models of the other folds."""
    if fold_n is None or (fold_n != TRAINS).all():
        return np.ones(num_rows, dtype=bool)
    trains_n: Mask = fold_n == TRAINS
    return trains_n


def _fit_card(source: ResolvedSource, chunks: Sequence[Columns], masks: Sequence[Mask], bias: bool) -> ModelCard:
    """Return the card with what the rows that train have: levels, the first day, and marks of missing values."""
    levels = [levels_of(chunk, source.features, mask_n) for chunk, mask_n in zip(chunks, masks, strict=True)]
    low_k, _ = _bounds(source, chunks, masks)
    features = []
    for at, feature in enumerate(with_levels(source.features, levels, source.min_counts)):
        if feature.kind == "datetime" and np.isnan(feature.origin):
            features.append(replace(feature, origin=float(np.floor(np.nan_to_num(low_k[at])))))
        elif feature.has_indicator and not _has_missing(feature, chunks, masks):
            features.append(replace(feature, missing="mean"))
        else:
            features.append(feature)
    return replace(source.card(bias=bias), features=tuple(features))


def _has_missing(feature: Feature, chunks: Sequence[Columns], masks: Sequence[Mask]) -> bool:
    return any(np.isnan(chunk.numbers[feature.name][mask_n]).any() for chunk, mask_n in zip(chunks, masks, strict=True))


def _bounds(source: ResolvedSource, chunks: Sequence[Columns], masks: Sequence[Mask]) -> tuple[Floats, Floats]:
    """Return the bounds of the raw features and of the target in the rows that train, each (k,)."""
    bounds = [
        bounds_of(chunk, source.features, source.target, np.zeros(chunk.num_rows, np.int64), 1, mask_n)
        for chunk, mask_n in zip(chunks, masks, strict=True)
    ]
    return np.fmin.reduce([low_mk[0] for low_mk, _ in bounds]), np.fmax.reduce([high_mk[0] for _, high_mk in bounds])


def _fill(
    feature: Feature, chunks: Sequence[Columns], masks: Sequence[Mask], weights: RowWeights | None = None
) -> float:
    """Return the mean, or the median, of the values in the rows that train; NaN without values, or without a fill.

    A mean has the weights of the rows.
    """
    if not feature.fills:
        return np.nan
    values, shares = [], []
    for chunk, mask_n in zip(chunks, masks, strict=True):
        value_n = chunk.numbers[feature.name][mask_n].astype(np.float64, copy=False)
        known_n = ~np.isnan(value_n)
        values.append(value_n[known_n])
        if weights is not None:
            shares.append(weights.of(chunk)[mask_n][known_n])
    count = sum(map(len, values))
    if not count:
        return np.nan
    if feature.missing == "median":
        return float(np.median(np.concatenate(values)))
    if weights is not None:
        return float(np.average(np.concatenate(values), weights=np.concatenate(shares)))
    return sum(float(value_n.sum()) for value_n in values) / count


def _encode_all(
    card: ModelCard, fill_k: Floats, chunks: list[Columns], order_n: NDArray[np.intp], s3: S3Settings
) -> Floats:
    """Return all encoded rows in an order. It empties `chunks`, to free their memory on the way."""
    require_room_for_rows(card, len(order_n))
    place_n = np.empty_like(order_n)
    place_n[order_n] = np.arange(len(order_n))
    x_nd = np.empty((len(order_n), len(card.columns)))
    row = 0
    while chunks:
        chunk = chunks.pop(0)
        for start in range(0, chunk.num_rows, ROWS_AT_ONCE):
            rows = chunk.take(slice(start, start + ROWS_AT_ONCE))
            x_nd[place_n[row : row + rows.num_rows]] = encode_columns(card, fill_k, rows, s3)
            row += rows.num_rows
    return x_nd
