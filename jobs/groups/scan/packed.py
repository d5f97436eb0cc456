"""Moments of many groups as rows of one array, which tasks sum and send to each other.

A packed row is [n, means of the q columns, the upper triangle of the centred scatter]; the q columns are the d encoded
features and the target, last. Rows with the same code are combined around their common mean, to avoid cancellation.

Shapes: n rows · v partial sums, packed · m groups · d encoded columns · q columns of z without the ones: d + 1 ·
f packed moments: 1 + q + q (q + 1) / 2.
Source: Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.engines.moments import Moments, moments_of

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

FEW_GROUPS = 16  # up to this number of groups, one matrix product for each is faster than bincount


def packed_width(num_columns: int) -> int:
    """Return the number f of packed moments for d encoded columns."""
    q = num_columns + 1
    return 1 + q + q * (q + 1) // 2


def sum_rows(x_nd: Floats, y_n: Floats, code_n: Codes, num_groups: int, weight_n: Floats | None = None) -> Floats:
    """Return the moments of the rows of each group, (m, f); zeros for a group without rows.

    With weights, n is their sum.
    """
    if num_groups <= FEW_GROUPS:
        return _sum_few(x_nd, y_n, code_n, num_groups, weight_n)
    if weight_n is not None:
        return _sum_weighted(x_nd, y_n, code_n, num_groups, weight_n)
    count_m = np.bincount(code_n, minlength=num_groups).astype(np.float64)
    columns = [*np.ascontiguousarray(x_nd.T), np.ascontiguousarray(y_n)]
    divisor_m = np.maximum(count_m, 1)
    means = [np.bincount(code_n, weights=c, minlength=num_groups) / divisor_m for c in columns]
    centred = [column - mean[code_n] for column, mean in zip(columns, means, strict=True)]
    q = len(columns)
    scatter = [
        np.bincount(code_n, weights=centred[i] * centred[j], minlength=num_groups)
        for i in range(q)
        for j in range(i, q)
    ]
    return _rows([count_m, *means, *scatter])


def _sum_weighted(x_nd: Floats, y_n: Floats, code_n: Codes, num_groups: int, weight_n: Floats) -> Floats:
    def sums(column_n: Floats) -> Floats:
        return np.bincount(code_n, weights=weight_n * column_n, minlength=num_groups).astype(np.float64, copy=False)

    total_m = np.bincount(code_n, weights=weight_n, minlength=num_groups)
    divisor_m = np.where(total_m > 0, total_m, 1.0)
    columns = [*np.ascontiguousarray(x_nd.T), np.ascontiguousarray(y_n)]
    means = [sums(column) / divisor_m for column in columns]
    centred = [column - mean[code_n] for column, mean in zip(columns, means, strict=True)]
    scatter = [sums(a * b) for a, b in combinations_with_replacement(centred, 2)]
    return _rows([total_m, *means, *scatter])


def _sum_few(x_nd: Floats, y_n: Floats, code_n: Codes, num_groups: int, weight_n: Floats | None) -> Floats:
    packed = np.zeros((num_groups, packed_width(x_nd.shape[1])))
    weights = None if weight_n is None else torch.from_numpy(weight_n)
    for code in range(num_groups if len(code_n) else 0):
        mask_n = code_n == code
        if mask_n.all():
            whole = torch.from_numpy(x_nd), torch.from_numpy(y_n)
            packed[code] = pack(moments_of(*whole, weight_n=weights, precise=False))[0]
        elif mask_n.any():
            here = torch.from_numpy(x_nd[mask_n]), torch.from_numpy(y_n[mask_n])
            of_here = None if weights is None else weights[torch.from_numpy(mask_n)]
            packed[code] = pack(moments_of(*here, weight_n=of_here, precise=False))[0]
    return packed


def combine(packed_vf: Floats, code_v: Codes, num_groups: int) -> Floats:
    """Return the moments of all packed rows of each group together, (m, f)."""
    q = _num_columns(packed_vf.shape[1])
    count_v, *columns = np.ascontiguousarray(packed_vf.T)
    count_m = np.bincount(code_v, weights=count_v, minlength=num_groups)
    divisor_m = np.where(count_m > 0, count_m, 1.0)
    means = [np.bincount(code_v, weights=count_v * c, minlength=num_groups) / divisor_m for c in columns[:q]]
    gaps = [column - mean[code_v] for column, mean in zip(columns, means, strict=False)]
    scatter = [
        np.bincount(code_v, weights=column_v + count_v * gaps[i] * gaps[j], minlength=num_groups)
        for (i, j), column_v in zip(combinations_with_replacement(range(q), 2), columns[q:], strict=True)
    ]
    return _rows([count_m, *means, *scatter])


def _rows(columns: Sequence[NDArray[Any]]) -> Floats:
    """Return columns as rows. Two steps are faster: stack copies whole columns, then one transposing copy."""
    rows: Floats = np.ascontiguousarray(np.stack(columns).T)
    return rows


def _num_columns(width: int) -> int:
    """Return q for a packed width: the root of f = 1 + q + q (q + 1) / 2."""
    return (math.isqrt(9 + 8 * (width - 1)) - 3) // 2


def pack(moments: Moments) -> Floats:
    """Return moments as packed rows, (m, f)."""
    m, d = moments.mean_md.shape
    full_mqq = torch.zeros(m, d + 1, d + 1, dtype=torch.float64)
    full_mqq[:, :d, :d] = moments.scatter_mdd
    full_mqq[:, :d, d] = moments.cross_md
    full_mqq[:, d, d] = moments.y_scatter_m
    i, j = torch.triu_indices(d + 1, d + 1)
    head = [moments.num_rows_m[:, None], moments.mean_md, moments.y_mean_m[:, None]]
    packed: Floats = torch.cat([*head, full_mqq[:, i, j]], dim=1).numpy()
    return packed


def unpack(packed_mf: Floats, column_d: NDArray[np.intp] | None = None) -> Moments:
    """Return packed rows as moments, of the encoded columns at `column_d` alone (None: of all)."""
    packed = torch.from_numpy(np.ascontiguousarray(packed_mf))
    q = _num_columns(packed.shape[1])
    index_d = torch.arange(q - 1) if column_d is None else torch.from_numpy(column_d)
    i, j = torch.triu_indices(q, q)
    full_mqq = torch.zeros(len(packed), q, q, dtype=torch.float64)
    full_mqq[:, i, j] = packed[:, 1 + q :]
    full_mqq[:, j, i] = packed[:, 1 + q :]
    return Moments(
        num_rows_m=packed[:, 0].clone(),
        mean_md=packed[:, 1 + index_d],
        scatter_mdd=full_mqq[:, index_d[:, None], index_d],
        y_mean_m=packed[:, q].clone(),
        cross_md=full_mqq[:, index_d, q - 1],
        y_scatter_m=full_mqq[:, -1, -1].contiguous(),
    )
