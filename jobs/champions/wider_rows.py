"""Read the rows of a listed dataset again, in the columns that a champion needs.

Shapes: n rows · d encoded columns.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handler.rows.model_card import ModelCard
from jobs.errors import DataError, SourceError
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.resolved import ResolvedSource
from jobs.sources.validation_split import TRAINS


def rows_for(champion: ModelCard, dataset: Dataset, source: ResolvedSource) -> Dataset | None:
    """Return the rows of a dataset with the champion's columns, and the fold of each as it is in the dataset.

    None if the files lack what the champion needs, or give other rows for it.
    """
    features = tuple(replace(feature, levels=()) for feature in champion.features)
    if not _scores_all(dataset):  # then rows are told apart by their other columns
        others = (each for each in dataset.card.features if each.name not in champion.feature_names)
        features += tuple(replace(each, levels=()) for each in others)
    try:
        wanted = replace(source, features=features, terms=champion.terms, rules=(), min_counts={}, split=None)
        wide = read_dataset(wanted, bias=dataset.card.bias, ridge=True)  # nothing is fitted to these rows
    except (DataError, SourceError):
        return None
    if wide.num_rows != dataset.num_rows or not np.array_equal(np.sort(wide.y_n), np.sort(dataset.y_n)):
        return None
    return replace(wide, fold_n=dataset.fold_n) if _scores_all(dataset) else _with_folds(wide, dataset)


def _scores_all(dataset: Dataset) -> bool:
    return dataset.fold_n is None or bool((dataset.fold_n != TRAINS).all())


def _with_folds(wide: Dataset, dataset: Dataset) -> Dataset | None:
    """Return the wide rows with the folds of the equal rows of the dataset; None if rows differ."""
    names = [name for name in dataset.card.columns if name in wide.card.columns]
    ours, theirs = _keys(dataset, names), _keys(wide, names)
    our_order_n, their_order_n = np.lexsort(ours), np.lexsort(theirs)
    if dataset.fold_n is None or not np.array_equal(ours[:, our_order_n], theirs[:, their_order_n]):
        return None
    fold_n = np.empty_like(dataset.fold_n)
    fold_n[their_order_n] = dataset.fold_n[our_order_n]
    return replace(wide, fold_n=fold_n)


def _keys(dataset: Dataset, names: list[str]) -> np.ndarray:
    columns = [dataset.x_nd[:, dataset.card.columns.index(name)] for name in names]
    return np.stack([*columns, dataset.y_n, *([] if dataset.weight_n is None else [dataset.weight_n])])
