"""Groups whose columns are nearly dependent keep the digits that a dataset of its own does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from jobs.engines.closed_form.least_squares import normal_equations, solve, weights_of
from jobs.engines.moments import moments_of
from jobs.groups.scan import digits
from jobs.groups.scan.digits import add_digits, combine_lacks, with_lacks
from jobs.groups.scan.packed import FEW_GROUPS, Codes, Floats, combine, sum_rows, unpack
from tests.oracles import certified, digits_of


def groups(number: int) -> tuple[Floats, Floats, Codes]:
    """Return rows of Wampler 5 for each even group and independent columns for each odd one, in a random order."""
    fit, random = certified("wampler5"), np.random.default_rng(0)
    x, y = [], []
    for code in range(number):
        even = code % 2 == 0
        x.append(fit.x_nd.numpy() if even else random.normal(size=fit.x_nd.shape))
        y.append(fit.y_n.numpy() if even else random.normal(size=len(fit.y_n)))
    code_n, order_n = np.repeat(np.arange(number), len(fit.y_n)), random.permutation(number * len(fit.y_n))
    return np.concatenate(x)[order_n], np.concatenate(y)[order_n], code_n[order_n]


@pytest.mark.parametrize("number", [3, FEW_GROUPS + 5])
def test_add_digits_gives_groups_the_digits_of_a_dataset(number: int) -> None:
    x_nd, y_n, code_n = groups(number)
    packed_mw = sum_rows(x_nd, y_n, code_n, number)
    lacks_mt = add_digits(packed_mw, x_nd, y_n, code_n)
    assert lacks_mt is not None
    assert not lacks_mt[1::2].any()
    moments = with_lacks(unpack(packed_mw), lacks_mt, np.arange(5))
    alone = moments_of(certified("wampler5").x_nd, certified("wampler5").y_n)
    assert torch.equal(moments.scatter_mdd[0], alone.scatter_mdd[0])
    torch.testing.assert_close(
        moments.low[0][0], alone.low[0][0], rtol=1e-3, atol=1e-9 * alone.low[0].abs().max().item()
    )
    weight_mp = weights_of(moments, solve(normal_equations(moments, bias=True)), bias=True)
    for m in range(0, number, 2):
        assert digits_of(weight_mp[m], certified("wampler5").coefficient_p) >= 8


@pytest.mark.parametrize("number", [1, 2, FEW_GROUPS + 5])
def test_add_digits_does_nothing_for_independent_columns(number: int) -> None:
    random = np.random.default_rng(0)
    code_n = np.repeat(np.arange(number), 8)
    x_nd, y_n = random.normal(size=(len(code_n), 3)), random.normal(size=len(code_n))
    packed_mw = sum_rows(x_nd, y_n, code_n, number)
    before_mw = packed_mw.copy()
    assert add_digits(packed_mw, x_nd, y_n, code_n) is None
    np.testing.assert_array_equal(packed_mw, before_mw)


def test_add_digits_of_large_numbers_is_exact() -> None:
    random = np.random.default_rng(1)
    x_nd = 1e9 + random.normal(size=(300, 2))
    x_nd[:, 1] = x_nd[:, 0] + 1e-3 * random.normal(size=300)
    y_n, code_n = random.normal(size=300), np.zeros(300, dtype=np.int64)
    packed_mw = sum_rows(x_nd, y_n, code_n, 1)
    lacks_mt = add_digits(packed_mw, x_nd, y_n, code_n)
    assert lacks_mt is not None
    a, b = ([Fraction(value) for value in column] for column in x_nd.T.tolist())
    mean_a, mean_b = sum(a) / 300, sum(b) / 300
    expected = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    found = Fraction(packed_mw[0, 5]) + Fraction(lacks_mt[0, 1])
    assert abs(found - expected) <= expected * Fraction(1, 2**66)


def test_lacks_of_groups_in_one_piece_are_kept_and_of_others_dropped() -> None:
    lacks_tt, count_t = np.arange(1.0, 9.0).reshape(4, 2), np.array([5.0, 0.0, 4.0, 3.0])
    kept_mt = combine_lacks(lacks_tt, count_t, np.array([0, 0, 1, 1]), 3)
    np.testing.assert_array_equal(kept_mt, [[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])


def test_combined_sums_of_a_group_in_one_piece_stay_as_they_are() -> None:
    x_nd, y_n, code_n = groups(2)
    packed_mw = sum_rows(x_nd, y_n, code_n, 2)
    add_digits(packed_mw, x_nd, y_n, code_n)
    together_mw = combine(np.concatenate([packed_mw, np.zeros_like(packed_mw)]), np.array([0, 1, 0, 1]), 2)
    np.testing.assert_array_equal(together_mw[:, 7:], packed_mw[:, 7:])


def test_add_digits_finds_the_same_groups_by_vectors_as_by_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    x_nd, y_n, code_n = groups(60)
    x_nd[code_n == 1, 0] = 4.0  # a constant column
    x_nd[code_n == 3, 1] = x_nd[code_n == 3, 0]
    packed_mf = sum_rows(x_nd, y_n, code_n, 60)
    found = []
    for few in (digits.FEW_COLUMNS, 0):
        monkeypatch.setattr(digits, "FEW_COLUMNS", few)
        found.append(add_digits(packed_mf.copy(), x_nd, y_n, code_n))
    assert found[0] is not None
    np.testing.assert_array_equal(*found)
    assert found[0][[0, 2, 3]].any(1).all()
    assert not found[0][[1, 5]].any()
