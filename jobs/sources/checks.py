"""What data has to be before it is regressed on; each failure is one line with file, column, row and value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handler.model_card import Feature, ModelCard
from jobs.errors import DataError
from jobs.sources.columns import Columns
from model_store.objects.s3_settings import S3Settings

Floats = NDArray[np.float64]


def check_cells(columns: Columns, features: Sequence[Feature], target: str, s3: S3Settings) -> None:
    """Raise DataError at the first row whose cell is empty, but for the rule `mean`, or infinite."""
    bad: list[tuple[int, str]] = []
    for name, may_be_missing in ((target, False), *((feature.name, feature.missing == "mean") for feature in features)):
        if name in columns.texts:
            bad_n = columns.texts[name].code_n < 0
        elif columns.numbers[name].dtype.kind != "f":
            continue
        else:
            bad_n = np.isinf(columns.numbers[name]) if may_be_missing else ~np.isfinite(columns.numbers[name])
        if bad_n.any():
            bad.append((int(bad_n.argmax()), name))
    if bad:
        row, name = min(bad, key=lambda at: at[0])
        place, value = columns.cell(row, name, s3)
        raise DataError(f"{place}: column {name!r}: {value} {_why(columns, row, name, target)}")


def _why(columns: Columns, row: int, name: str, target: str) -> str:
    if name in columns.numbers and np.isinf(columns.numbers[name][row]):
        return "is infinite: write a finite number"
    if name == target:
        return "is missing: fill it, or remove the row; a target can't be guessed"
    if name in columns.texts:
        return "is missing: fill it, with a category of its own if need be"
    return "is missing: fill it, or set 'missing: mean' for the feature"


def check_table(card: ModelCard, x_nd: Floats, y_n: Floats) -> None:
    """Raise DataError where the training rows can't tell the weights: too few, or constant or equal columns.

    `x_nd` are the encoded rows that train, of shape (n, d), and `y_n` their targets.
    """
    num_rows, num_weights = len(y_n), len(card.columns) + card.bias
    if num_rows < num_weights:
        reason = f"{num_rows} rows train, and there are {num_weights} weights"
        raise DataError(f"{reason}: add rows, or name fewer features")
    if y_n.min() == y_n.max():
        reason = f"the target {card.target!r} is {y_n[0]:g} in every row"
        raise DataError(f"{reason}: there is nothing to predict; check 'target'")
    _check_constant(card, x_nd)
    _check_equal(card, x_nd)


def _check_constant(card: ModelCard, x_nd: Floats) -> None:
    """A constant column says what the bias does; without a bias, only a column of zeros says nothing."""
    low_d, high_d = x_nd.min(axis=0), x_nd.max(axis=0)
    constant_d = (low_d == high_d) & (card.bias | (low_d == 0))
    if constant_d.any():
        at = int(constant_d.argmax())
        reason = f"column {card.columns[at]!r} is {low_d[at]:g} in every row that trains"
        raise DataError(f"{reason}: remove it from 'features'; the bias stands for a constant")


def _check_equal(card: ModelCard, x_nd: Floats) -> None:
    """Compare in full only columns whose first rows and sums are equal."""
    seen: dict[bytes, int] = {}
    sum_d = x_nd.sum(axis=0)
    for at in range(x_nd.shape[1]):
        sketch = np.append(x_nd[:16, at], sum_d[at]) + 0.0
        before = seen.setdefault(sketch.tobytes(), at)
        if before != at and np.array_equal(x_nd[:, before], x_nd[:, at]):
            names = f"columns {card.columns[before]!r} and {card.columns[at]!r} are equal in every row that trains"
            raise DataError(f"{names}: remove one from 'features'")
