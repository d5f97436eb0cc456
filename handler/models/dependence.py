"""Which columns of a served model depend on others in all its training rows, and on what.

Along a dependence the data do not determine the weights: statistics hold U Uᵀ of these directions U.

Shapes: n rows · d encoded columns · p weights of a model (d, and one more with a bias), or some of them, or directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rows.encoding import Floats
from .stack import ServedStack, StatisticsOf

FREE = 1e-6  # of a weight, along what the data do not determine: beyond, it has no value of its own
MAX_TERMS = 6  # of a sum that a sentence writes out


@dataclass(frozen=True)
class Dependence:
    """In every training row, column `column` is Σ factor · other column + constant; `scale` is the column's size."""

    column: int
    factor_d: Floats
    constant: float
    scale: float

    def expected(self, x_nd: Floats) -> Floats:
        """Return the values that the column would have in rows that keep the dependence, (n,)."""
        expected_n: Floats = x_nd @ self.factor_d + self.constant
        return expected_n

    def sentence(self, names: Sequence[str]) -> str:
        """Return the dependence in words: `'fahrenheit' is 1.8 × 'celsius' + 32`."""
        terms = [(float(self.factor_d[at]), repr(names[at])) for at in np.flatnonzero(self.factor_d).tolist()]
        return f"{names[self.column]!r} is {_sum_of(terms, self.constant)}"


def undetermined_weights(stack: ServedStack, model: int) -> NDArray[np.bool_]:
    """Return, for each weight (p,), whether the training rows leave it open; none without statistics of it."""
    stored = stack.statistics
    num_weights = stack.weight_md.shape[1] + (stack.bias_m is not None)
    if stored is None or stored.undetermined_mpp is None or stored.inverse_cross_product_mpp is None:
        return np.zeros(num_weights, dtype=np.bool_)
    return _is_open(stored, model)


def _is_open(stored: StatisticsOf[Floats], model: int) -> NDArray[np.bool_]:
    """Return the same, by the share of a weight's direction: its variance is about 1 / (rows · the inverse)."""
    assert stored.undetermined_mpp is not None  # noqa: S101 - the caller has looked
    assert stored.inverse_cross_product_mpp is not None  # noqa: S101
    free_p = stored.undetermined_mpp[model].diagonal()
    size_p = stored.inverse_cross_product_mpp[model].diagonal() * stored.num_rows_m[model]
    is_open: NDArray[np.bool_] = free_p > FREE**2 * size_p
    return is_open


def dependences(stack: ServedStack, model: int) -> list[Dependence]:
    """Return the dependences of a model's columns, in their order; none without statistics of them."""
    d = stack.weight_md.shape[1]
    open_p = np.flatnonzero(undetermined_weights(stack, model)[:d])
    if not len(open_p):
        return []
    assert stack.statistics is not None  # noqa: S101 - there are no open weights without
    assert stack.statistics.undetermined_mpp is not None  # noqa: S101
    free_pp = stack.statistics.undetermined_mpp[model][np.ix_(open_p, open_p)]
    inverse_scale_p = np.sqrt(free_pp.diagonal())
    size_p, direction_pp = np.linalg.eigh(free_pp / np.outer(inverse_scale_p, inverse_scale_p))
    direction_pd = np.zeros((int((size_p > FREE * size_p[-1]).sum()), d))
    direction_pd[:, open_p] = direction_pp.T[size_p > FREE * size_p[-1]]
    inverse_scale_d = np.ones(d)
    inverse_scale_d[open_p] = inverse_scale_p
    mean_d = stack.statistics.column_mean_md[model] if stack.bias_m is not None else None
    return dependences_of(direction_pd, 1 / inverse_scale_d, mean_d)


def dependences_of(direction_pd: Floats, scale_d: Floats, mean_d: Floats | None) -> list[Dependence]:
    """Return the dependences that directions in which weights may move say, in the order of their columns.

    The directions are those of weights of x / scale; `mean_d` are the means of the columns, None without a bias.
    """
    found = []
    for column, factor_d in sorted(_solved(direction_pd), key=lambda each: each[0]):
        raw_d = factor_d * scale_d[column] / scale_d
        constant = 0.0 if mean_d is None else float(mean_d[column] - (raw_d * mean_d).sum())
        if abs(constant) < FREE * scale_d[column]:
            constant = 0.0
        found.append(Dependence(column, raw_d, constant, float(scale_d[column])))
    return found


def _solved(direction_pd: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield dependent columns, each with the factors (d,) that make it of the others, in scaled units.

    The later of the columns in a dependence is solved for, as if they were added one after the other.
    """
    left_pd = direction_pd.copy()
    solved: list[int] = []
    for column in reversed(range(left_pd.shape[1])):
        row = len(solved)
        if row == len(left_pd):
            break
        pivot = row + int(np.abs(left_pd[row:, column]).argmax())
        if abs(left_pd[pivot, column]) < FREE:
            continue
        left_pd[[row, pivot]] = left_pd[[pivot, row]]
        left_pd[row] = left_pd[row] / left_pd[row, column]
        others = np.arange(len(left_pd)) != row
        left_pd[others] -= left_pd[others, column, None] * left_pd[row]
        solved.append(column)
    for at, column in enumerate(solved):
        factor_d = -left_pd[at]
        factor_d[column] = 0.0
        yield column, np.where(np.abs(factor_d) < FREE, 0.0, factor_d)


def _sum_of(terms: Sequence[tuple[float, str]], constant: float) -> str:
    if not terms:
        return f"{constant:.6g}"
    if len(terms) > MAX_TERMS:
        some = ", ".join(other for _, other in terms[:MAX_TERMS])
        return f"a sum of multiples of {len(terms)} others, such as {some}"
    made = "".join(_term(factor, other, first=at == 0) for at, (factor, other) in enumerate(terms))
    return made + (f" {'-' if constant < 0 else '+'} {abs(constant):.6g}" if constant else "")


def _term(factor: float, other: str, *, first: bool) -> str:
    sign = ("-" if factor < 0 else "") if first else (" - " if factor < 0 else " + ")
    size = f"{abs(factor):.6g}"
    return f"{sign}{other}" if size == "1" else f"{sign}{size} × {other}"
