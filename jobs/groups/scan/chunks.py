"""Turn a chunk of rows into the moments of its groups: names, folds, encoded columns, and errors of bad rows.

Shapes: n rows · m groups of the chunk · k raw features, and the target last · h = 1 + folds · f packed moments ·
d encoded columns.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from handler.rows.transforms import transformed_target
from jobs.groups.scan.digits import add_digits
from jobs.groups.scan.group_names import Groups
from jobs.groups.scan.kept_rows import kept_rows
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import Codes, Floats, sum_rows
from jobs.groups.scan.partial import Partial, extremes_of_rows
from jobs.groups.scan.room import require_room_for_many
from jobs.groups.scan.rows import Rows
from jobs.sources.checks import bad_rows, error_of_row
from jobs.sources.columns import Columns
from jobs.sources.dataset import encode_columns
from jobs.sources.row_keys import row_keys
from jobs.sources.summaries import bounds_of
from jobs.sources.validation_split import TRAINS, draw, fold_of_rows
from model_store.objects.s3_settings import S3Settings

SECOND_HASH = np.uint64(0xD6E8FEB86659FD93)
PLACED_ERRORS = 20  # of a chunk: to find the line of a cell in a text file, the file is read again


def chunk_partial(columns: Columns, layout: Layout, s3: S3Settings, *, keep_rows: bool) -> Partial:
    """Return the partial aggregates of the groups of a chunk, and its encoded rows if they are kept.

    Bad rows are left out; `failures` has their groups. Raises DataError if the sums of the groups take more memory than
    there is.
    """
    card, split, kept = layout.card, layout.split, kept_rows(columns, layout)
    columns, groups = kept.columns, kept.groups
    m, code_n, failures = len(groups.name_m), groups.code_n, {}
    require_room_for_many(m, layout)
    bad_n = bad_rows(columns, card.features, layout.target, layout.group_by, layout.weights)
    if bad_n.any():
        failures, valid = _errors(columns, layout, groups, bad_n, s3), np.flatnonzero(~bad_n)
        code_n, columns = code_n[valid], columns.take(valid)
    weight_n = None if layout.weights is None else layout.weights.of(columns)
    key_n = row_keys(columns, layout.row_names)
    # Fortran order is faster to write and to sum, C order is faster to index by rows.
    x_nd = np.empty((columns.num_rows, len(card.columns)), order="C" if keep_rows else "F")
    encode_columns(card, layout.fill_of(groups.name_m, code_n), columns, s3, x_nd)
    y_n = transformed_target(card.target_transform, columns.numbers[card.target])
    num_folds, fold_n, extremes, trains_n = 0, np.zeros(len(code_n), dtype=np.int64), None, None
    if split is not None:
        num_folds, draw_n = split.num_folds, draw(key_n, split.seed)
        fold_n = fold_of_rows(draw_n, split).astype(np.int64) - TRAINS
        extremes = extremes_of_rows(draw_n, np.column_stack([x_nd, y_n]), code_n, m, weight_n)
        trains_n = None if split.folds else fold_n == 0
    place_n = code_n * (1 + num_folds) + fold_n
    packed = sum_rows(x_nd, y_n, place_n, m * (1 + num_folds), weight_n)
    lacks = add_digits(packed, x_nd, y_n, place_n) if weight_n is None else None
    low_mk, high_mk = bounds_of(columns, card.features, card.target, code_n, m, trains_n)
    moments_mhf, hash_m2 = packed.reshape(m, 1 + num_folds, -1), _hash_sums(key_n, code_n, m)
    rows = Rows(code_n, key_n, x_nd, y_n, weight_n) if keep_rows else None
    count_mh = None if weight_n is None else _counts(place_n, m, 1 + num_folds)
    lacks_mhf = None if lacks is None else lacks.reshape(m, 1 + num_folds, -1)
    sums = (groups.name_m, moments_mhf, low_mk, high_mk, hash_m2, extremes, failures, rows, lacks_mhf)
    return Partial(*sums, kept.left_out_mr, count_mh)


def _counts(place_n: Codes, num_groups: int, num_folds: int) -> Floats:
    counts: Floats = np.bincount(place_n, minlength=num_groups * num_folds).astype(np.float64)
    return counts.reshape(num_groups, num_folds)


def _errors(
    columns: Columns, layout: Layout, groups: Groups, bad_n: NDArray[np.bool_], s3: S3Settings
) -> dict[str, str]:
    """Return the error of the first bad row of each group."""
    rows = np.flatnonzero(bad_n)
    codes, first = np.unique(groups.code_n[rows], return_index=True)
    names = groups.name_m.take(pa.array(codes)).to_pylist()
    errors, card = {}, layout.card
    for number, (name, row) in enumerate(zip(names, rows[first].tolist(), strict=True)):
        if number < PLACED_ERRORS or row in columns.bad or not columns.fragment.format.rereads_for_cell:
            key, weights = layout.group_by, layout.weights
            errors[name] = error_of_row(columns, row, card.features, layout.target, s3, key, weights)
        else:
            place = f"{columns.fragment.location}: row {columns.file_row(row) + 1}"
            errors[name] = f"{place}: a cell is empty, infinite, or outside the domain of its transform"
    return errors


def _hash_sums(key_n: NDArray[np.uint64], code_n: Codes, num_groups: int) -> NDArray[np.uint64]:
    sums_m2 = np.zeros((num_groups, 2), dtype=np.uint64)
    second_n = (key_n ^ (key_n >> np.uint64(29))) * SECOND_HASH
    if num_groups == 1:
        sums_m2[0] = key_n.sum(dtype=np.uint64), second_n.sum(dtype=np.uint64)
        return sums_m2
    np.add.at(sums_m2[:, 0], code_n, key_n)
    np.add.at(sums_m2[:, 1], code_n, second_n)
    return sums_m2
