"""The quadratic of the mean squared error: its Hessian and gradient are autograd's."""

from __future__ import annotations

import pytest
import torch

from jobs.engines.closed_form.spectrum import gradient, hessian, spectrum
from jobs.engines.moments import concatenate, moments_of
from tests.oracles import article


def rows(num_rows: int = 30, num_columns: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(num_rows, num_columns, generator=generator, dtype=torch.float64) + 2.0
    return x_nd, torch.randn(num_rows, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
def test_hessian_and_gradient_are_those_of_autograd(bias: bool) -> None:
    x_nd, y_n = rows()
    x_np = torch.cat([x_nd, torch.ones(30, 1, dtype=torch.float64)], dim=1) if bias else x_nd
    weight_p = torch.linspace(-1, 1, x_np.shape[1], dtype=torch.float64, requires_grad=True)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return (x_np @ weight - y_n).square().mean()

    (slope_p,) = torch.autograd.grad(loss(weight_p), weight_p)
    moments = moments_of(x_nd, y_n)
    torch.testing.assert_close(hessian(moments, bias)[0], torch.autograd.functional.hessian(loss, weight_p.detach()))
    torch.testing.assert_close(gradient(moments, weight_p.detach()[None], bias)[0], slope_p)


def test_spectrum_of_the_articles_data() -> None:
    """Source: least squares by numpy; λmax = 15.708, so the stability limit is 0.12732."""
    basis = spectrum(moments_of(*article("area")), bias=True)
    assert basis.largest_m.item() == pytest.approx(15.708, abs=5e-4)
    assert 2 / basis.largest_m.item() == pytest.approx(0.12732, abs=5e-6)


def test_spectrum_of_dependent_columns_has_a_zero() -> None:
    x_nd, y_n = rows()
    x_nd[:, 2] = x_nd[:, 0] + x_nd[:, 1]
    basis = spectrum(moments_of(x_nd, y_n), bias=True)
    assert (basis.eigenvalue_mp[0] == 0).tolist() == [True, False, False, False]
    assert basis.smallest_positive_m.item() == basis.eigenvalue_mp[0, 1].item()
    null_p = basis.eigenvector_mpp[0, :, 0]
    assert abs(null_p[3].item()) < 1e-9
    torch.testing.assert_close(null_p[:2] / null_p[2], -torch.ones(2, dtype=torch.float64))


def test_spectrum_is_batched_over_datasets() -> None:
    parts = [moments_of(*rows(seed=seed)) for seed in (1, 2)]
    both = spectrum(concatenate(parts), bias=True)
    for number, part in enumerate(parts):
        torch.testing.assert_close(both.eigenvalue_mp[number], spectrum(part, bias=True).eigenvalue_mp[0])
