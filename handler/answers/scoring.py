"""Score encoded rows: predictions, intervals, extrapolations, explanations. Input and output are arrays.

Shapes: n rows · m models · d encoded columns · k raw features · p weights of a model (d, and one more with a bias).
`models` is an array with the model of each row, so that one gather and one product score rows of different models; or
a number, the model of all rows, which NumPy broadcasts. The caller checks the results for overflow, and sets
`np.errstate` once around all calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.stack import ServedStack, StatisticsOf
from ..rows.encoding import Floats
from ..rows.transforms import raw_target
from .student_t import two_sided_quantile

Models = int | NDArray[np.intp]
BREAKS = 1e-12  # of (xᵀ U)²: a row that is further from a dependence of the training rows breaks it
NUMBERS_AT_ONCE = 1_000_000  # 8 MB: what a chunk of rows takes for intervals, a few times
ROUNDING = 64 * float(np.finfo(np.float64).eps)  # of the terms of (xᵀ U)²: a row that is far from the mean has more


@dataclass(frozen=True)
class Intervals:
    """Lower and upper bounds for the mean of the target at a row, and for a new observation there."""

    confidence_n2: Floats
    prediction_n2: Floats


def predict(stack: ServedStack, models: Models, x_nd: Floats) -> Floats:
    """Return the predictions in units of the target, of shape (n,); not finite if a sum overflows."""
    return raw_target(stack.card.target_transform, linear(stack, models, x_nd))


def linear(stack: ServedStack, models: Models, x_nd: Floats) -> Floats:
    """Return the predictions on the scale on which the models were trained, of shape (n,)."""
    prediction_n: Floats = np.vecdot(x_nd, stack.weight_md[models])
    return prediction_n if stack.bias_m is None else prediction_n + stack.bias_m[models]


def outside_range(stack: ServedStack, models: Models, raw_nk: Floats) -> NDArray[np.bool_]:
    """Return, of shape (n, k), whether each raw value is outside the range of the training rows.

    `raw_nk` is NaN for a categorical feature and for a missing value. All False without statistics.
    """
    if stack.statistics is None:
        return np.zeros(raw_nk.shape, dtype=np.bool_)
    below: NDArray[np.bool_] = raw_nk < stack.statistics.feature_min_mk[models]
    return below | (raw_nk > stack.statistics.feature_max_mk[models])


def intervals(stack: ServedStack, models: Models, x_nd: Floats, prediction_n: Floats, level: float) -> Intervals:
    """Return the confidence and prediction intervals at `level`, in units of the target.

    They are NaN for a model without degrees of freedom or without statistics, and for a row that breaks a dependence
    between columns that all training rows keep: nothing is known of it. `missing_intervals` says which.

    With C = ([X 1]ᵀ[X 1])⁻¹ and residual variance s², the half-widths are t·s·√(x̃ᵀCx̃) and t·s·√(1 + x̃ᵀCx̃).
    Source: Seber & Lee, Linear Regression Analysis, 5.3.
    """
    stored = stack.statistics
    if stored is None or stored.inverse_cross_product_mpp is None or stored.residual_variance_m is None:
        nothing = np.full((len(x_nd), 2), np.nan)
        return Intervals(nothing, nothing)
    leverage_n = np.concatenate([_leverage(stack, stored, *part) for part in _parts(models, x_nd)])
    quantile_n = _quantiles(degrees_of_freedom(stored, models), level)
    scale_n = quantile_n * np.sqrt(stored.residual_variance_m[models])
    transform = stack.card.target_transform
    center_n = prediction_n if transform is None else linear(stack, models, x_nd)
    confidence_n2, prediction_n2 = (_around(center_n, scale_n * np.sqrt(by + leverage_n)) for by in (0.0, 1.0))
    return Intervals(raw_target(transform, confidence_n2), raw_target(transform, prediction_n2))


def breaks(stack: ServedStack, models: Models, x_nd: Floats) -> NDArray[np.bool_]:
    """Return which rows break a dependence of the training rows, (n,)."""
    stored = stack.statistics
    if stored is None or stored.undetermined_mpp is None:
        return np.zeros(len(x_nd), dtype=np.bool_)
    undetermined_mpp = stored.undetermined_mpp
    parts = ((its, _from_mean(stack, stored, its, rows_nd)) for its, rows_nd in _parts(models, x_nd))
    return np.concatenate([_breaks(z_nd, undetermined_mpp[its]) for its, z_nd in parts])


def degrees_of_freedom(stored: StatisticsOf[Floats], models: Models) -> Floats:
    """Return the degrees of freedom of these models: rows less weights, unless others are stored."""
    assert stored.inverse_cross_product_mpp is not None  # noqa: S101 - the caller has looked
    num_weights = stored.inverse_cross_product_mpp.shape[1]
    return _stored_or(stored.num_rows_m[models] - num_weights, stored.degrees_of_freedom_m, models)


def _parts(models: Models, x_nd: Floats) -> Iterator[tuple[Models, Floats]]:
    """Yield the rows that are computed at once, with their models: a matrix for each row takes memory for it."""
    num_rows, num_columns = x_nd.shape
    step = max(1, NUMBERS_AT_ONCE // max(1, num_columns ** (1 if isinstance(models, int) else 2)))
    for start in range(0, max(1, num_rows), step):
        rows = slice(start, start + step)
        yield models if isinstance(models, int) else models[rows], x_nd[rows]


def _leverage(stack: ServedStack, stored: StatisticsOf[Floats], models: Models, x_nd: Floats) -> Floats:
    """Return x̃ᵀCx̃ of each row, NaN of one that breaks a dependence of the training rows.

    With a bias it is that of the mean training row, and what the distance z from that row adds, zᵀCz: a column of large
    values that differ little would lose its digits in x̃ᵀCx̃.
    """
    assert stored.inverse_cross_product_mpp is not None  # noqa: S101 - the caller has looked
    z_nd = _from_mean(stack, stored, models, x_nd)
    leverage_n = np.maximum(_squares(z_nd, stored.inverse_cross_product_mpp[models]), 0.0)
    if stack.bias_m is not None:
        leverage_n = leverage_n + 1.0 / _stored_or(stored.num_rows_m[models], stored.weight_sum_m, models)
    if stored.undetermined_mpp is None:
        return leverage_n
    return np.where(_breaks(z_nd, stored.undetermined_mpp[models]), np.nan, leverage_n)


def _breaks(z_nd: Floats, undetermined: Floats) -> NDArray[np.bool_]:
    """Return which rows break a dependence, whatever rounding makes of the others."""
    away_n = _squares(z_nd, undetermined)
    breaks_n: NDArray[np.bool_] = away_n > BREAKS
    if breaks_n.any():
        breaks_n &= away_n > ROUNDING * _squares(np.abs(z_nd), np.abs(undetermined))
    return breaks_n


def _from_mean(stack: ServedStack, stored: StatisticsOf[Floats], models: Models, x_nd: Floats) -> Floats:
    """Return rows as their distance from the mean training row; as they are without a bias."""
    return x_nd if stack.bias_m is None else x_nd - stored.column_mean_md[models]


def _squares(z_nd: Floats, matrix: Floats) -> Floats:
    """Return zᵀMz of each row z, (n,); M is (p, p) for all rows, or (n, p, p), and is taken without the bias."""
    d = z_nd.shape[1]
    if matrix.ndim == 2:
        return np.asarray(np.vecdot(z_nd @ matrix[:d, :d], z_nd))
    return np.asarray(np.vecdot(np.matmul(z_nd[:, None, :], matrix[:, :d, :d])[:, 0, :], z_nd))


def _stored_or(value: Floats, stored_m: Floats | None, models: Models) -> Floats:
    """Return what is stored of these models; the value where nothing is."""
    if stored_m is None:
        return np.asarray(value)
    return np.where(np.isnan(stored_m[models]), value, stored_m[models])


def contributions(stack: ServedStack, models: Models, x_nd: Floats) -> Floats | None:
    """Return w·(x − x̄), of shape (n, d), for each encoded column and the mean training row x̄; None without statistics.

    With the prediction for x̄, the contributions of a row sum to its prediction, before a transform is undone.
    """
    if stack.statistics is None:
        return None
    return stack.weight_md[models] * (x_nd - stack.statistics.column_mean_md[models])


def _quantiles(freedom: Floats, level: float) -> Floats:
    """Return the quantile of Student's t for each model; NaN without degrees of freedom."""
    unique, position = np.unique(freedom, return_inverse=True)
    quantile = [two_sided_quantile(level, float(each)) if each > 0 else np.nan for each in unique]
    return np.array(quantile)[position].reshape(np.shape(freedom))


def _around(center_n: Floats, half_width_n: Floats) -> Floats:
    return np.column_stack([center_n - half_width_n, center_n + half_width_n])
