"""The normal equations in scaled units: solved to the last digit, and their digits told."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jobs.engines.closed_form.jacobi import right_singular_vectors
from jobs.engines.closed_form.least_squares import normal_equations, solve, trusted_digits, weights_of
from jobs.engines.closed_form.spectrum import hessian, spectrum
from jobs.engines.moments import Moments, concatenate, moments_of
from tests.oracles import certified, digits_of, exact_least_squares


def rows(num_rows: int = 30, num_columns: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(num_rows, num_columns, generator=generator, dtype=torch.float64)
    return x_nd, x_nd.sum(1) + torch.randn(num_rows, generator=generator, dtype=torch.float64)


def solution(moments: Moments, bias: bool = True) -> Tensor:
    return weights_of(moments, solve(normal_equations(moments, bias)), bias)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("norris", 13), ("longley", 11), ("wampler1", 9.5), ("wampler2", 13), ("wampler4", 9.5), ("wampler5", 9.5)],
)
def test_solution_reaches_certified_digits(name: str, expected: float) -> None:
    fit = certified(name)
    assert digits_of(solution(moments_of(fit.x_nd, fit.y_n))[0], fit.coefficient_p) >= expected


@pytest.mark.parametrize("name", ["norris", "longley", "wampler1", "wampler2", "wampler3", "wampler4", "wampler5"])
@pytest.mark.parametrize("precise", [True, False])
def test_trusted_digits_are_no_more_than_there_are_and_few_less(name: str, precise: bool) -> None:
    fit = certified(name)
    moments = moments_of(fit.x_nd, fit.y_n, precise=precise)
    trusted = trusted_digits(moments, bias=True)[0].min().item()
    found = digits_of(solution(moments)[0], fit.coefficient_p)
    assert found - 3 <= trusted <= found + 0.1


def test_trusted_digits_of_independent_columns_are_all() -> None:
    assert trusted_digits(moments_of(*rows(3000)), bias=True).min().item() > 13


def test_trusted_digits_of_a_weight_without_a_value_are_none() -> None:
    x_nd, y_n = rows()
    moments = moments_of(torch.cat([x_nd, x_nd[:, :1] + x_nd[:, 1:2]], dim=1), y_n)
    assert trusted_digits(moments, bias=True)[0].isnan().tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("bias", [True, False])
def test_solution_of_sums_alone_is_theirs_to_the_last_digits(bias: bool) -> None:
    """Without what they lack, the sums still pose equations, of which nothing more is lost."""
    x_nd, y_n = rows(40)
    x_nd[:, 1] = x_nd[:, 0] + 1e-4 * x_nd[:, 1]
    moments = moments_of(x_nd, y_n, precise=False)
    slope_md = solve(normal_equations(moments, bias))
    x_np = torch.cat([x_nd, torch.ones(40, 1, dtype=torch.float64)], dim=1) if bias else x_nd
    predicted_n = x_np @ weights_of(moments, slope_md, bias)[0]
    torch.testing.assert_close(predicted_n, exact_least_squares(x_nd, y_n, bias=bias), rtol=0, atol=1e-6)


def test_solution_is_batched_over_datasets_of_different_rank() -> None:
    x_nd, y_n = rows()
    dependent_nd = torch.cat([x_nd[:, :2], 2 * x_nd[:, :1]], dim=1)
    constant_nd = torch.cat([x_nd[:, :2], torch.full((30, 1), 0.3, dtype=torch.float64)], dim=1)
    parts = [moments_of(each, y_n) for each in (x_nd, dependent_nd, constant_nd, 1e9 * x_nd + 1e12)]
    together = solution(concatenate(parts))
    for number, part in enumerate(parts):
        torch.testing.assert_close(together[number], solution(part)[0], rtol=1e-9, atol=1e-12)
    assert together[2, 2].item() == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), exponents=st.lists(st.integers(-9, 12), min_size=1, max_size=6))
def test_singular_values_of_graded_columns_are_each_exact(seed: int, exponents: list[int]) -> None:
    """Scaled back, a graded matrix has the determinant of the plain one: the product of all singular values."""
    p = len(exponents)
    generator = torch.Generator().manual_seed(seed)
    plain_mkp = torch.randn(2, p + 4, p, generator=generator, dtype=torch.float64)
    scale_p = torch.tensor([10.0**exponent for exponent in exponents], dtype=torch.float64)
    turned_mkp, basis_mpp = right_singular_vectors(plain_mkp * scale_p)
    torch.testing.assert_close(basis_mpp.mT @ basis_mpp, torch.eye(p, dtype=torch.float64).expand(2, p, p))
    torch.testing.assert_close(
        (plain_mkp * scale_p) @ basis_mpp, turned_mkp, rtol=1e-9, atol=1e-9 * scale_p.max().item()
    )
    logarithm_m = turned_mkp.square().sum(1).log().sum(1)
    expected_m = torch.linalg.svdvals(plain_mkp).square().log().sum(1) + 2 * scale_p.log().sum()
    torch.testing.assert_close(logarithm_m, expected_m, rtol=1e-12, atol=1e-11)


def test_spectrum_of_seconds_beside_a_share_has_every_eigenvalue() -> None:
    """The determinant of the Hessian is 2^p times the variances, whatever the means."""
    x_nd, y_n = rows(num_columns=2)
    x_nd = torch.stack([1.7e9 + 3600 * x_nd[:, 0].round(), 0.01 * x_nd[:, 1]], dim=1)
    moments = moments_of(x_nd, y_n)
    basis = spectrum(moments, bias=True)
    assert bool((basis.eigenvalue_mp > 0).all())
    expected = (moments.scatter_mdd[0] / 30).logdet() + 3 * torch.tensor(2.0, dtype=torch.float64).log()
    torch.testing.assert_close(basis.eigenvalue_mp.log().sum(), expected, rtol=1e-10, atol=0)
    rebuilt = basis.eigenvector_mpp * basis.eigenvalue_mp[:, None, :] @ basis.eigenvector_mpp.mT
    torch.testing.assert_close(rebuilt, hessian(moments, bias=True), rtol=1e-12, atol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_spectrum_of_dependent_columns_has_as_many_zeros_in_any_unit(scale: float) -> None:
    x_nd, y_n = rows(num_columns=2)
    x_nd = torch.cat([x_nd, scale * x_nd[:, :1] + scale, 1e-3 * x_nd[:, 1:2]], dim=1)
    assert (spectrum(moments_of(x_nd, y_n), bias=True).eigenvalue_mp == 0).sum().item() == 2
