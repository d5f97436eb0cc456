"""Models of least squares as they are served, of any columns: dependent ones, few rows, weighted rows.

Shapes: n rows · d encoded columns · k raw features · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm
import torch

from handler.models.stack import ServedStack, Stack, Statistics
from handler.rows.model_card import Feature, ModelCard
from jobs.engines.closed_form.inference_statistics import statistics_of
from jobs.engines.closed_form.least_squares import normal_equations, solve, weights_of
from jobs.engines.moments import Moments, moments_of


def moments(x_nd: np.ndarray, y_n: np.ndarray, weight_n: np.ndarray | None = None, num_chunks: int = 1) -> Moments:
    """Return the moments of rows, read in chunks as those of groups and of scanned sources are."""

    def of(rows_n: np.ndarray) -> Moments:
        weights = None if weight_n is None else torch.from_numpy(weight_n[rows_n])
        return moments_of(torch.from_numpy(x_nd[rows_n]), torch.from_numpy(y_n[rows_n]), weight_n=weights)

    first, *others = map(of, np.array_split(np.arange(len(x_nd)), num_chunks))
    for other in others:
        first = first.merge(other)
    return first


def served(found: Moments, bias: bool = True, *, frequency: bool = False) -> ServedStack:
    """Return the model of least squares with its statistics, as it is served."""
    return stack_of(found, [f"x{at}" for at in range(found.num_columns)], bias, frequency=frequency).arrays()


def stack_of(found: Moments, names: Sequence[str], bias: bool = True, *, frequency: bool = False) -> Stack:
    """Return the model of least squares of numeric features with these names, with its statistics."""
    d = found.num_columns
    weight_mp = weights_of(found, solve(normal_equations(found, bias)), bias)
    inferred = statistics_of(found, weight_mp, bias, frequency=frequency)
    nothing_mk = torch.full((1, len(names)), torch.nan, dtype=torch.float64)
    sums_m = None if found.count_m is None else found.num_rows_m
    known = Statistics(
        *(nothing_mk, nothing_mk, nothing_mk, found.mean_md, found.rows_m), weight_sum_m=sums_m, **vars(inferred)
    )
    card = ModelCard("y", tuple(map(Feature, names)), bias)
    return Stack(card, weight_mp[:, :d], weight_mp[:, d] if bias else None, known)


@dataclass(frozen=True)
class Oracle:
    """Bounds of n rows, and the number of weights that they determine."""

    confidence_n2: np.ndarray
    prediction_n2: np.ndarray
    rank: int


def oracle(x_nd: np.ndarray, y_n: np.ndarray, bias: bool = True, weight_n: np.ndarray | None = None) -> Oracle:
    """Return statsmodels' intervals at 0.9 for the rows themselves.

    It gets an orthogonal basis of the centred columns: it has their predictions, and no dependence or large value.
    """
    one_n = np.ones(len(x_nd)) if weight_n is None else weight_n
    centred_nd = x_nd - np.average(x_nd, axis=0, weights=one_n) if bias else x_nd
    varies_d = np.ptp(x_nd, axis=0) > 0 if bias else (x_nd != 0).any(0)
    scaled_nd = centred_nd[:, varies_d] / np.linalg.norm(centred_nd[:, varies_d], axis=0)
    left_nd, size_d, _ = np.linalg.svd(np.sqrt(one_n)[:, None] * scaled_nd, full_matrices=False)
    basis_nd = left_nd[:, size_d > 1e-8 * size_d[0]] / np.sqrt(one_n)[:, None]
    design_np = np.column_stack([basis_nd, np.ones(len(x_nd))]) if bias else basis_nd
    frame = sm.WLS(y_n, design_np, weights=one_n).fit().get_prediction(weights=1.0).summary_frame(0.1)
    columns = frame[["mean_ci_lower", "mean_ci_upper"]], frame[["obs_ci_lower", "obs_ci_upper"]]
    return Oracle(columns[0].to_numpy(), columns[1].to_numpy(), design_np.shape[1])
