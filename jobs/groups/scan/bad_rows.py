"""Find the rows of a chunk with an invalid cell, and the error message for each of their groups.

Shapes: n rows · k raw features.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from handler.encoding import DOMAINS
from jobs.errors import DataError
from jobs.groups.scan.group_names import Groups
from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.packed import Floats
from jobs.sources.checks import check_cells
from jobs.sources.columns import Columns
from jobs.sources.dataset import encode_columns
from jobs.sources.fitting import Fit
from model_store.objects.s3_settings import S3Settings

PLACED_FAILURES = 20  # of a chunk: to find the line of a cell in a text file, the file is read again


def bad_rows(columns: Columns, layout: Layout) -> NDArray[np.bool_]:
    """Return which rows have an invalid cell or an empty key."""
    card = layout.card
    bad_n = np.zeros(columns.num_rows, dtype=bool)
    for name in layout.group_by:
        bad_n |= columns.texts[name].code_n < 0
    _mark(bad_n, np.isfinite(columns.numbers[card.target]))
    for feature in card.features:
        if feature.kind == "categorical":
            bad_n |= columns.texts[feature.name].code_n < 0
            continue
        value_n = columns.numbers[feature.name]
        _mark(bad_n, ~np.isinf(value_n) if feature.missing == "mean" else np.isfinite(value_n))
        if feature.transform is not None:
            domain = DOMAINS[feature.transform]
            inside = value_n >= domain.lower if domain.closed else value_n > domain.lower
            _mark(bad_n, inside | np.isnan(value_n))
    return bad_n


def _mark(bad_n: NDArray[np.bool_], good_n: NDArray[np.bool_]) -> None:
    """Mark the rows that are not good; usually there are none, and the check is faster than the marking."""
    if not good_n.all():
        bad_n |= ~good_n


def reasons_of(
    columns: Columns, layout: Layout, groups: Groups, bad_n: NDArray[np.bool_], s3: S3Settings
) -> dict[str, str]:
    """Return, for each group with a bad row, the error of its first bad row."""
    rows = np.flatnonzero(bad_n)
    codes, first = np.unique(groups.code_n[rows], return_index=True)
    names = groups.name_m.take(pa.array(codes)).to_pylist()
    return {
        name: _reason(columns, layout, int(rows[at]), s3, placed=number < PLACED_FAILURES)
        for number, (name, at) in enumerate(zip(names, first.tolist(), strict=True))
    }


def _reason(columns: Columns, layout: Layout, row: int, s3: S3Settings, *, placed: bool) -> str:
    at = f"{columns.fragment.location}: row {columns.first_row + row + 1}"
    for name in layout.group_by:
        if columns.texts[name].code_n[row] < 0:
            return f"{at}: the key column {name!r} is empty: fill it, or remove the row"
    if not placed and columns.fragment.format.rereads_for_cell:
        return f"{at}: a cell is empty, infinite, or outside the domain of its transform"
    one = columns.slice(row, row + 1)
    try:
        check_cells(one, layout.card.features, layout.card.target, s3)
        encode_columns(fit_of(layout, np.zeros(len(layout.card.features))), one, s3)
    except DataError as exc:
        return str(exc)
    raise AssertionError(f"{at} is not bad")


def fit_of(layout: Layout, fill_k: Floats) -> Fit:
    """Return the fit that encodes rows with these fill values."""
    return Fit(layout.card, fill_k, no_fill(layout), no_fill(layout))


def no_fill(layout: Layout) -> Floats:
    """Return fill values that fill nothing: NaN for each feature, (k,)."""
    return np.full(len(layout.card.features), np.nan)
