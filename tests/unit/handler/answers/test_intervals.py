"""Intervals of columns that depend on others, nearly do, or have large values that differ little.

Source of the oracle: statsmodels, on an orthogonal basis of the centred columns: it has their predictions, and no
dependence or large value is left in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from handler.answers.scoring import Intervals, intervals, predict
from handler.models.stack import ServedStack
from tests.samples.dependent import Oracle, moments, oracle, served

N = 40
RANDOM = np.random.default_rng(3)
A, B, G = RANDOM.normal(15, 5, N), RANDOM.normal(100, 30, N), np.resize(np.arange(4), N)
DUMMIES = (G[:, None] == np.arange(4)).astype(float)
DAYS = 19_000.0 + np.arange(N)

CASES = {
    "independent": [A, B],
    "copies": [A, A, B],
    "degrees": [A, 9 / 5 * A + 32],
    "degrees, rounded": [np.round(A, 1), np.round(np.round(A, 1) * 9 / 5 + 32, 1)],
    "a sum": [A, B, A + B],
    "a sum and an offset": [A, B, 2 * A - 3 * B + 7],
    "all levels": [*DUMMIES.T, A],
    "constants": [A, np.full(N, 0.1), np.zeros(N), np.full(N, 7e9)],
    "products": [A, B, A * B, B * A, A**2],
    "days, hours, seconds": [DAYS, DAYS * 24, DAYS * 86_400],
    "other units": [A, A * 1e9 + 1e12, A * 1e-9],
    "seconds since 1970": [1.7e9 + A, B],
    "seconds and milliseconds": [1.7e9 + np.floor(A), 1000 * (1.7e9 + np.floor(A)), B],
    "the fifth digit": [A, A + 1e-4 * B],
    "the sixth digit, far from 0": [1e4 + A, 1e4 + A + 1e-4 * B],
}
OF_ORIGIN = {"degrees": 2, "a sum and an offset": 3, "all levels": 5, "constants": 2, "other units": 2}


def answered(stack: ServedStack, x_nd: np.ndarray, level: float = 0.9) -> Intervals:
    return intervals(stack, 0, x_nd, predict(stack, 0, x_nd), level)


def assert_same(found: Intervals, expected: Oracle, tolerance: float = 1e-6) -> None:
    """Assert that the bounds differ by less than a share of the width."""
    for ours_n2, theirs_n2 in (
        (found.confidence_n2, expected.confidence_n2),
        (found.prediction_n2, expected.prediction_n2),
    ):
        share_n2 = np.abs(ours_n2 - theirs_n2) / (theirs_n2[:, 1] - theirs_n2[:, 0])[:, None]
        assert share_n2.max() < tolerance


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("num_chunks", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_intervals_of_dependent_columns_are_those_of_statsmodels(name: str, num_chunks: int, bias: bool) -> None:
    x_nd = np.column_stack(CASES[name])
    y_n = A - 0.1 * B + RANDOM.normal(size=N)
    expected = oracle(x_nd, y_n, bias)
    if bias:
        assert expected.rank == OF_ORIGIN.get(name, expected.rank)
    tolerance = 1e-3 if "digit" in name else 1e-6
    assert_same(answered(served(moments(x_nd, y_n, num_chunks=num_chunks), bias), x_nd), expected, tolerance)


@pytest.mark.parametrize("num_chunks", [1, 4])
def test_intervals_of_weighted_rows_far_from_0_are_those_of_statsmodels(num_chunks: int) -> None:
    x_nd, y_n = np.column_stack([1e7 + A, 2 * (1e7 + A), B]), A + RANDOM.normal(size=N)
    weight_n = RANDOM.uniform(0.2, 5.0, N)
    stack = served(moments(x_nd, y_n, weight_n, num_chunks))
    assert_same(answered(stack, x_nd), oracle(x_nd, y_n, weight_n=weight_n))


def test_intervals_of_frequency_weights_are_those_of_repeated_rows() -> None:
    x_nd, y_n = np.column_stack([A, 2 * A - 1]), A + RANDOM.normal(size=N)
    times_n = np.resize([1, 2, 5], N)
    stack = served(moments(x_nd, y_n, times_n.astype(float)), frequency=True)
    x_nd, y_n = np.repeat(x_nd, times_n, axis=0), np.repeat(y_n, times_n)
    assert_same(answered(stack, x_nd), oracle(x_nd, y_n))


@pytest.mark.parametrize("cells", [1, 50, 1 << 20])
def test_intervals_of_many_models_are_those_of_each(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.answers.scoring.NUMBERS_AT_ONCE", cells)
    x_nd, y_n = np.column_stack([1e7 + A, B]), A + RANDOM.normal(size=N)
    stack = served(moments(x_nd, y_n))
    each = intervals(stack, np.zeros(N, np.intp), x_nd, predict(stack, 0, x_nd), 0.9)
    np.testing.assert_allclose(each.confidence_n2, answered(stack, x_nd).confidence_n2, rtol=1e-12)


@pytest.mark.parametrize(("num_rows", "num_columns"), [(3, 3), (4, 3), (3, 8), (2, 1), (1, 1)])
def test_there_are_no_intervals_without_more_rows_than_weights(num_rows: int, num_columns: int) -> None:
    x_nd, y_n = RANDOM.normal(size=(num_rows, num_columns)), RANDOM.normal(size=num_rows)
    found = answered(served(moments(x_nd, y_n)), x_nd)
    assert np.isnan(found.confidence_n2).all()
    assert np.isnan(found.prediction_n2).all()


def test_rows_fewer_than_columns_have_intervals_where_they_determine_fewer_weights() -> None:
    t_n = np.arange(6.0)
    x_nd = np.column_stack([t_n, 2 * t_n, 3 * t_n + 1, np.ones(6), np.zeros(6), t_n**2, -t_n])
    y_n = RANDOM.normal(size=6)
    assert_same(answered(served(moments(x_nd, y_n)), x_nd), oracle(x_nd, y_n))


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-9, 1e-7])
@pytest.mark.parametrize("num_chunks", [1, 3])
def test_intervals_of_a_fit_that_is_perfect_but_for_rounding_are_not_too_narrow(size: float, num_chunks: int) -> None:
    x_nd = np.column_stack([A, B])
    y_n = 3 * A + B + 5 + size * RANDOM.normal(size=N)
    found, expected = answered(served(moments(x_nd, y_n, num_chunks=num_chunks)), x_nd), oracle(x_nd, y_n)
    width_n = found.prediction_n2[:, 1] - found.prediction_n2[:, 0]
    assert (width_n >= expected.prediction_n2[:, 1] - expected.prediction_n2[:, 0]).all()
    assert (width_n < 1e-6 * y_n.std()).all()


BROKEN: dict[str, tuple[str, Callable[[np.ndarray], None]]] = {
    "a copy that differs": ("copies", lambda row_d: row_d.__setitem__(1, row_d[1] + 0.1)),
    "Celsius for Fahrenheit": ("degrees", lambda row_d: row_d.__setitem__(1, row_d[0])),
    "two levels": ("all levels", lambda row_d: row_d.__setitem__(slice(0, 2), 1.0)),
    "another constant": ("constants", lambda row_d: row_d.__setitem__(1, 0.2)),
    "a constant of 0": ("constants", lambda row_d: row_d.__setitem__(2, 1e-3)),
    "hours of another day": ("days, hours, seconds", lambda row_d: row_d.__setitem__(1, row_d[1] + 1)),
}


@pytest.mark.parametrize("num_chunks", [1, 3])
@pytest.mark.parametrize("name", BROKEN)
def test_a_row_that_breaks_a_dependence_has_no_interval(name: str, num_chunks: int) -> None:
    case, breaks = BROKEN[name]
    x_nd = np.column_stack(CASES[case])
    stack = served(moments(x_nd, A + RANDOM.normal(size=N), num_chunks=num_chunks))
    x_nd = x_nd[:2].copy()
    breaks(x_nd[1])
    found = answered(stack, x_nd)
    assert np.isnan(found.confidence_n2).any(1).tolist() == [False, True]
    assert np.isnan(found.prediction_n2).any(1).tolist() == [False, True]


def test_a_row_far_away_that_keeps_the_dependence_has_an_interval() -> None:
    stack = served(moments(np.column_stack([A, 9 / 5 * A + 32]), A + RANDOM.normal(size=N)))
    far_n = np.array([-273.0, 1e3, 1e5])
    assert np.isfinite(answered(stack, np.column_stack([far_n, 9 / 5 * far_n + 32])).prediction_n2).all()
