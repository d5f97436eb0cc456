"""Hash the raw values of each row: folds depend on the hash, not on the file, the chunk or the group of a row.

Shapes: n rows · c rows of a chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.sources.columns import Array, Columns, Text

CHUNK_ROWS = 1 << 15
ODD = np.uint64(0x9E3779B97F4A7C15)

Keys = NDArray[np.uint64]


def row_keys(columns: Columns, names: Sequence[str]) -> Keys:
    """Return a hash of each row's values in the columns `names`, uint64 of shape (n,).

    Numbers count as float64 (so that 1, 1.0 and true are equal, and 0 is -0), text by its characters.
    """
    key_n = np.empty(columns.num_rows, dtype=np.uint64)
    level_keys = {name: _level_keys(columns.texts[name]) for name in names if name in columns.texts}
    for start in range(0, columns.num_rows, CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        key_c = np.full(len(key_n[chunk]), ODD)
        for name in names:
            if name in level_keys:
                key_c ^= level_keys[name][columns.texts[name].code_n[chunk]]
            else:
                key_c ^= _bits(columns.numbers[name][chunk])
            key_c *= ODD
            key_c ^= key_c >> np.uint64(32)
        key_n[chunk] = key_c
    return key_n


def canonical_order(key_n: Keys, group_n: NDArray[np.int64] | None = None) -> NDArray[np.intp]:
    """Return the order of rows for minibatches: by their hash, within each group if there are groups.

    So batches do not depend on the order of reading. Rows with the same hash are equal, so their order has no effect.
    """
    return np.argsort(key_n, kind="stable") if group_n is None else np.lexsort((key_n, group_n))


def _level_keys(text: Text) -> Keys:
    """Return a hash of each level, and at the end (at -1) that of an empty cell."""
    digests = [hashlib.blake2b(level.encode(), digest_size=8).digest() for level in text.levels]
    return np.frombuffer(b"".join([*digests, b"\0" * 8]), dtype="<u8").astype(np.uint64)


def _bits(values: Array) -> Keys:
    """Return the bit patterns of numbers as float64, with one pattern for zero and one for NaN."""
    numbers = values.astype(np.float64)
    numbers += 0.0
    missing = np.isnan(numbers)
    if missing.any():
        numbers[missing] = np.nan
    return numbers.view(np.uint64)
