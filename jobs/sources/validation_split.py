"""Decide which rows validate, by the seed and the content of a row; files and the order of reading have no effect.

A row's key is a hash of its raw values (see `sources.row_keys`). The key and the seed give a number in [0, 1), the draw
of the row: below the fraction, the row validates; times the number of folds, it is the row's fold. So the sizes of
folds are binomial, equal rows are in the same fold, and a row is in the same fold in a file, a stream and a group. A
share of exact size would need all rows of a dataset in one process.

Shapes: n rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DataError

TRAINS = -1
ODD = np.uint64(0x9E3779B97F4A7C15)

Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]
Folds = NDArray[np.int16]


@dataclass(frozen=True)
class Split:
    """Which rows validate: a fraction, or folds, by the seed and a row's content."""

    seed: int
    fraction: float | None = None
    folds: int | None = None

    @property
    def num_folds(self) -> int:
        return self.folds or 1


def draw(key_n: Keys, seed: int) -> Floats:
    """Return the number in [0, 1) that the seed gives each row, of shape (n,)."""
    mixed_n = _mix(key_n ^ _mix(np.array([seed], dtype=np.uint64)))
    return (mixed_n >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fold_of_rows(draw_n: Floats, split: Split) -> Folds:
    """Return the fold in which each row validates, int16 of shape (n,); `TRAINS` (-1) for a row that only trains.

    With a fraction there is one fold, 0. The fold depends on the row alone, so some rows of a dataset are enough. But
    in a small dataset there may be no row that validates, or none that trains: see `fold_of_dataset`.
    """
    if split.fraction is not None:
        return np.where(draw_n < split.fraction, np.int16(0), np.int16(TRAINS))
    return (draw_n * split.num_folds).astype(np.int16)


def fold_of_dataset(draw_n: Floats, split: Split) -> Folds:
    """Return the folds of `fold_of_rows` for a whole dataset, with some rows that train and some that validate.

    If none validates, the rows with the lowest draw do. If none trains, those with the highest draw do. If all rows are
    in one fold, they are dealt to the folds in the order of their draws. Raises DataError if all rows are equal.
    """
    distinct, rank_n = np.unique(draw_n, return_inverse=True)
    if len(distinct) < 2:
        raise DataError("validation needs two different rows or more: add rows, or set 'validation: none'")
    fold_n = fold_of_rows(draw_n, split)
    if fold_n.min() < fold_n.max():
        return fold_n
    if split.fraction is None:
        return (rank_n % split.num_folds).astype(np.int16)
    validates_n = rank_n == 0 if fold_n[0] == TRAINS else rank_n < len(distinct) - 1
    return np.where(validates_n, np.int16(0), np.int16(TRAINS))


def _mix(key_n: Keys) -> Keys:
    """Return the keys, well mixed. Source: Steele, Lea & Flood, Fast splittable pseudorandom number generators."""
    key_n = key_n + ODD
    key_n = (key_n ^ (key_n >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key_n = (key_n ^ (key_n >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key_n ^ (key_n >> np.uint64(31))
