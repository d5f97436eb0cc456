"""A dataset in memory: read, checked, fitted to a model card and encoded.

Shapes: n rows · k raw features · d encoded columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.encoding import encode
from handler.errors import EncodingError
from handler.model_card import Feature, ModelCard
from jobs.errors import DataError
from jobs.sources.checks import check_cells, check_table
from jobs.sources.columns import Columns, Wanted
from jobs.sources.fitting import Fit, fit, merge, summarize
from jobs.sources.reading import read_columns
from jobs.sources.resolved import ResolvedSource, dataset_in_errors
from jobs.sources.row_keys import Keys, canonical_order, row_keys
from jobs.sources.validation_split import TRAINS, Folds, Split, draw, fold_of_dataset
from model_store.objects.s3_settings import S3Settings

ROWS_AT_ONCE = 1 << 16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """A dataset that can be regressed on.

    `x_nd` and `y_n` are float64, the rows in the order in which they were read, files by path, rows as they stand; or
    in an order of their own, by their content, in which minibatches are dealt from them.
    `fill_k`, `feature_min_k` and `feature_max_k` are of the rows that train, in raw units; NaN where a feature has
    none. `fold_n` is the fold in which each row validates (`TRAINS` if it only trains), None without validation.
    `fingerprint` is a sha256, as hex, of the columns' names and the encoded rows in their order.
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

    @property
    def num_rows(self) -> int:
        """The number of rows, those that validate among them."""
        return len(self.y_n)


def read_dataset(source: ResolvedSource, *, bias: bool, in_canonical_order: bool = False) -> Dataset:
    """Return the dataset of a source.

    In canonical order the rows do not depend on how they were read; see `row_keys.canonical_order`.
    Raises DataError where it can't be read or regressed on, and SourceError where its storage can't be reached.
    """
    with dataset_in_errors(source.name):
        parts = _read(source)
        y_n = np.concatenate([part.numbers[source.target] for part in parts]).astype(np.float64)
        key_n = _keys(source, parts) if source.split or in_canonical_order else np.zeros(0, np.uint64)
        fold_n = _folds(source.split, key_n) if source.split else None
        fitted = _fit(source.features, parts, _trains(fold_n, len(y_n)), source.target, bias)
        order_n = canonical_order(key_n) if in_canonical_order else np.arange(len(y_n))
        x_nd, y_n = _encode_all(fitted, parts, order_n, source.s3), y_n[order_n]
        fold_n = None if fold_n is None else fold_n[order_n]
        trains_n = _trains(fold_n, len(y_n))
        everything = bool(trains_n.all())
        check_table(fitted.card, x_nd if everything else x_nd[trains_n], y_n[trains_n])
        return Dataset(
            name=source.name,
            card=fitted.card,
            fill_k=fitted.fill_k,
            feature_min_k=fitted.feature_min_k,
            feature_max_k=fitted.feature_max_k,
            x_nd=x_nd,
            y_n=y_n,
            fold_n=fold_n,
            fingerprint=fingerprint(fitted.card, x_nd, y_n),
        )


def wanted_columns(features: Sequence[Feature], target: str, group_by: Sequence[str] = ()) -> tuple[Wanted, ...]:
    """Return what has to be read: the features, the target, and the columns that divide the rows into groups."""
    return (
        *(Wanted(feature.name, "number" if feature.kind == "numeric" else "text") for feature in features),
        Wanted(target),
        *(Wanted(name, "text") for name in group_by),
    )


def encode_columns(
    fitted: Fit, columns: Columns, s3: S3Settings, out: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """Return the encoded rows, (n, d); see `encode`. Raises DataError, with file and row, where a value can't be."""
    card = fitted.card
    raw = {
        feature.name: columns.numbers[feature.name]
        if feature.kind == "numeric"
        else columns.texts[feature.name].cells()
        for feature in card.features
    }
    try:
        return encode(card, raw, fitted.fill_k, out=out)
    except EncodingError as exc:
        place, _ = columns.cell(exc.row, exc.feature, s3)
        unseen = ". The row validates: set 'unseen: reference', or another seed" if exc.feature in columns.texts else ""
        raise DataError(f"{place}: {exc}{unseen}") from exc


def fingerprint(card: ModelCard, x_nd: Floats, y_n: Floats) -> str:
    """Return the sha256, as hex, of the columns' names and the rows in their order."""
    digest = hashlib.sha256("\n".join([*card.columns, card.target]).encode())
    digest.update(np.ascontiguousarray(x_nd).data)
    digest.update(np.ascontiguousarray(y_n).data)
    return digest.hexdigest()


def _read(source: ResolvedSource) -> list[Columns]:
    parts = []
    for part in read_columns(source.fragments, wanted_columns(source.features, source.target), source.s3):
        check_cells(part, source.features, source.target, source.s3)
        parts.append(part)
    if not any(part.num_rows for part in parts):
        raise DataError(f"{', '.join(source.locations)}: the table is empty: it has columns and no rows: add rows")
    return parts


def _keys(source: ResolvedSource, parts: Sequence[Columns]) -> Keys:
    names = [*(feature.name for feature in source.features), source.target]
    return np.concatenate([row_keys(part, names) for part in parts])


def _folds(split: Split, key_n: Keys) -> Folds:
    return fold_of_dataset(draw(key_n, split.seed), fraction=split.fraction, folds=split.folds)


def _trains(fold_n: Folds | None, num_rows: int) -> NDArray[np.bool_]:
    """Return which rows train: with folds all of them, each fold's model by the others'."""
    if fold_n is None or (fold_n != TRAINS).all():
        return np.ones(num_rows, dtype=bool)
    trains_n: NDArray[np.bool_] = fold_n == TRAINS
    return trains_n


def _fit(
    features: Sequence[Feature], parts: Sequence[Columns], trains_n: NDArray[np.bool_], target: str, bias: bool
) -> Fit:
    ends = np.cumsum([part.num_rows for part in parts])
    masks = np.split(trains_n, ends[:-1])
    seen = merge(summarize(part, features, mask) for part, mask in zip(parts, masks, strict=True))
    return fit(features, seen, target=target, bias=bias)


def _encode_all(fitted: Fit, parts: list[Columns], order_n: NDArray[np.intp], s3: S3Settings) -> Floats:
    """Return all encoded rows in an order; `parts` is emptied on the way, so that their memory is free for them."""
    place_n = np.empty_like(order_n)
    place_n[order_n] = np.arange(len(order_n))
    x_nd = np.empty((sum(part.num_rows for part in parts), len(fitted.card.columns)))
    row = 0
    while parts:
        part = parts.pop(0)
        for start in range(0, part.num_rows, ROWS_AT_ONCE):
            block = part.slice(start, start + ROWS_AT_ONCE)
            x_nd[place_n[row : row + block.num_rows]] = encode_columns(fitted, block, s3)
            row += block.num_rows
    return x_nd
