"""Models of least squares as they are served, of any columns: dependent ones, few rows, weighted rows.

Shapes: n rows · d encoded columns · k raw features · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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
