"""Which rows validate: by the seed and a row's content, never by how or in which order it was read.

A row's key is a hash of its raw values (see `sources.row_keys`). The key and the seed give a number in [0, 1), drawn
once for all: below the fraction, the row validates; times the number of folds, it is the row's fold. So sizes are what
chance makes of them (binomial), rows that are equal in every value go the same way, and a row goes the same way in a
file, in a stream and in a group: an exact share would need all rows of a dataset in one place.

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
    def num_parts(self) -> int:
        return self.folds or 1


def draw(key_n: Keys, seed: int) -> Floats:
    """Return the number in [0, 1) that the seed gives each row, of shape (n,)."""
    mixed_n = _mix(key_n ^ _mix(np.array([seed], dtype=np.uint64)))
    return (mixed_n >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fold_of_rows(draw_n: Floats, *, fraction: float | None, folds: int | None) -> Folds:
    """Return the fold in which each row validates, int16 of shape (n,); `TRAINS` (-1) for a row that only trains.

    With a fraction there is one fold, 0. It looks at each row alone, and so holds for a part of a dataset as well; but
    a small dataset may be left without a row that validates, or that trains: see `fold_of_dataset`.
    """
    if fraction is not None:
        return np.where(draw_n < fraction, np.int16(0), np.int16(TRAINS))
    return (draw_n * (folds or 1)).astype(np.int16)


def fold_of_dataset(draw_n: Floats, *, fraction: float | None, folds: int | None) -> Folds:
    """Return what `fold_of_rows` does for a whole dataset, and see to it that some rows train and some validate.

    Where none would validate, the lowest drawn do; where none would train, the highest drawn do; where all would be in
    one fold, they are dealt out in the order of what they drew. Raises DataError where all rows are equal.
    """
    distinct, rank_n = np.unique(draw_n, return_inverse=True)
    if len(distinct) < 2:
        raise DataError("validation needs two different rows or more: add rows, or set 'validation: none'")
    fold_n = fold_of_rows(draw_n, fraction=fraction, folds=folds)
    if fold_n.min() < fold_n.max():
        return fold_n
    if fraction is None:
        return (rank_n % (folds or 1)).astype(np.int16)
    validates_n = rank_n == 0 if fold_n[0] == TRAINS else rank_n < len(distinct) - 1
    return np.where(validates_n, np.int16(0), np.int16(TRAINS))


def _mix(key_n: Keys) -> Keys:
    """Return the keys, well mixed. Source: Steele, Lea & Flood, Fast splittable pseudorandom number generators."""
    key_n = key_n + ODD
    key_n = (key_n ^ (key_n >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key_n = (key_n ^ (key_n >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key_n ^ (key_n >> np.uint64(31))
