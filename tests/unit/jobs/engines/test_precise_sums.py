"""Sums of nearly dependent columns: exact to twenty bits beyond float64, in fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jobs.engines.double_double import total_of, two_product, two_sum
from jobs.engines.moments import concatenate, empty_moments, moments_of
from jobs.engines.precise_products import loses_digits
from jobs.engines.row_sums import CHUNK_ROWS, STRETCH_ROWS, sum_rows
from tests.oracles import certified, dot

numbers = st.floats(-1e100, 1e100, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-100)


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


@given(a=numbers, b=numbers)
def test_two_sum_and_two_product_are_exact(a: float, b: float) -> None:
    total, error = two_sum(one(a), one(b))
    assert Fraction(total.item()) + Fraction(error.item()) == Fraction(a) + Fraction(b)
    product, error = two_product(one(a), one(b))
    assert Fraction(product.item()) + Fraction(error.item()) == Fraction(a) * Fraction(b)


def test_total_keeps_what_a_sum_rounds_off() -> None:
    high, low = total_of([one(1.0), one(-1e16)], one(1e16), one(0.25))
    assert (high.item(), low.item()) == (1.25, 0.0)


def close_columns(num_rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = 1e3 + torch.randn(num_rows, 3, generator=generator, dtype=torch.float64)
    x_nd[:, 1] = x_nd[:, 0] + 1e-4 * x_nd[:, 1]
    return x_nd, torch.randn(num_rows, generator=generator, dtype=torch.float64)


def exact_products(columns: Tensor) -> list[list[Fraction]]:
    """Return the centred second moments of columns, in fractions."""
    exact = [[Fraction(value) for value in column] for column in columns.T.tolist()]
    return [[dot(a, b) - sum(a) * sum(b) / len(a) for b in exact] for a in exact]


@pytest.mark.parametrize("column_major", [True, False])
@pytest.mark.parametrize("num_rows", [5, CHUNK_ROWS + 300])
def test_sums_of_nearly_dependent_columns_hold_twenty_bits_more(num_rows: int, column_major: bool) -> None:
    x_nd, y_n = close_columns(num_rows)
    expected = exact_products(torch.cat([x_nd, y_n[:, None]], dim=1))
    sums = sum_rows(x_nd.T.contiguous().T if column_major else x_nd, y_n, precise=True)
    assert sums.low_qq is not None
    for i in range(4):
        for j in range(4):
            found = Fraction(sums.scatter_qq[i, j].item()) + Fraction(sums.low_qq[i, j].item())
            size = (expected[i][i] * expected[j][j]) ** 0.5
            assert abs(found - expected[i][j]) <= 2.0**-68 * size


def test_precise_sums_do_not_depend_on_threads() -> None:
    x_nd, y_n = close_columns(STRETCH_ROWS + 5000)
    before = torch.get_num_threads()
    try:
        found = []
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(moments_of(x_nd, y_n))
    finally:
        torch.set_num_threads(before)
    assert found[0].scatter_low_mdd is not None
    assert found[0].count_m is None
    for name, column in vars(found[0]).items():
        assert column is None or torch.equal(column, getattr(found[1], name))


def test_columns_that_lose_no_digits_take_one_pass() -> None:
    x_nd, y_n = close_columns(50)
    assert moments_of(x_nd[:, [0, 2]], y_n).scatter_low_mdd is None
    assert moments_of(x_nd, y_n, precise=False).scatter_low_mdd is None
    assert moments_of(x_nd, y_n).scatter_low_mdd is not None


def test_constant_column_loses_no_digits() -> None:
    x_nd, y_n = close_columns(50)
    x_nd[:, 1] = 7.0
    assert loses_digits(moments_of(x_nd, y_n, precise=False).scatter_mdd).tolist() == [False]


def test_moments_of_several_datasets_keep_the_digits_of_each() -> None:
    close, plain = moments_of(*close_columns(50)), moments_of(*close_columns(50), precise=False)
    both = concatenate([plain, close])
    assert both.scatter_low_mdd is not None
    assert bool((both.scatter_low_mdd[0] == 0).all())
    assert torch.equal(both.take(torch.tensor([1])).low[0], close.low[0])


def test_moments_merged_with_no_rows_keep_their_digits_and_with_others_do_not() -> None:
    close = moments_of(*close_columns(50))
    for merged in (close.merge(empty_moments(1, 3)), empty_moments(1, 3).merge(close)):
        assert torch.equal(merged.low[0], close.low[0])
        assert torch.equal(merged.scatter_mdd, close.scatter_mdd)
    assert not bool(close.merge(close).low[0].any())


def test_sums_of_wampler_are_rounded_once() -> None:
    fit = certified("wampler5")
    expected = exact_products(torch.cat([fit.x_nd, fit.y_n[:, None]], dim=1))
    moments = moments_of(fit.x_nd, fit.y_n)
    assert moments.cross_md[0].tolist() == [float(expected[j][5]) for j in range(5)]
    assert moments.scatter_mdd[0].tolist() == [[float(value) for value in row[:5]] for row in expected[:5]]
