"""How far descent moves along one eigenvector: held to the recurrence, step by step, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engines.closed_form.response import descent, descent_with_momentum, response


def recurrence(curvature: float, rate: float, momentum: float, nesterov: bool, steps: int) -> float:
    """Return -w after `steps` steps of torch.optim.SGD from 0 on λw²/2 + w, in rational arithmetic."""
    weight, velocity = Fraction(0), Fraction(0)
    lam, eta, mu = Fraction(curvature), Fraction(rate), Fraction(momentum)
    for _ in range(steps):
        gradient = lam * weight + 1
        velocity = mu * velocity + gradient
        weight -= eta * (gradient + mu * velocity if nesterov else velocity)
    return float(-weight)


def moved(curvature: float, rate: float, momentum: float, nesterov: bool, steps: list[int]) -> list[float]:
    phi_tep = response(
        torch.tensor([[curvature]], dtype=torch.float64),
        torch.tensor([rate], dtype=torch.float64),
        torch.tensor([momentum], dtype=torch.float64),
        torch.tensor([nesterov]),
        torch.tensor([steps]),
    )
    values: list[float] = phi_tep[0, :, 0].tolist()
    return values


curvatures = st.one_of(st.just(0.0), st.floats(1e-9, 10.0))


@settings(max_examples=60, deadline=None)
@given(curvature=curvatures, rate=st.floats(1e-6, 0.5), steps=st.integers(0, 40))
def test_response_without_momentum_is_the_recurrence(curvature: float, rate: float, steps: int) -> None:
    assert moved(curvature, rate, 0.0, False, [steps])[0] == pytest.approx(
        recurrence(curvature, rate, 0.0, False, steps), rel=1e-9, abs=1e-15
    )


@settings(max_examples=60, deadline=None)
@given(
    curvature=curvatures,
    rate=st.floats(1e-6, 0.5),
    momentum=st.floats(0.01, 0.99),
    nesterov=st.booleans(),
    steps=st.integers(0, 40),
)
def test_response_with_momentum_is_the_recurrence(
    curvature: float, rate: float, momentum: float, nesterov: bool, steps: int
) -> None:
    assert moved(curvature, rate, momentum, nesterov, [steps])[0] == pytest.approx(
        recurrence(curvature, rate, momentum, nesterov, steps), rel=1e-8, abs=1e-12
    )


@pytest.mark.parametrize("rate_times_curvature", [0.25, 1.0, 1.5])
def test_response_of_a_billion_steps_is_the_minimum(rate_times_curvature: float) -> None:
    for momentum in (0.0, 0.9):
        assert moved(4.0, rate_times_curvature / 4, momentum, False, [10**9])[0] == pytest.approx(1 / 4)


def test_response_of_no_step_is_zero_at_every_rate() -> None:
    assert moved(1.0, 1.0, 0.0, False, [0, 1]) == [0.0, 1.0]
    assert moved(4.0, 1.0, 0.0, False, [0]) == [0.0]


def test_response_of_a_flat_direction_grows_by_the_rate() -> None:
    assert moved(0.0, 0.25, 0.0, False, [1, 4, 1000]) == [0.25, 1.0, 250.0]


def test_response_at_twice_the_minimum_swings_for_ever() -> None:
    assert moved(1.0, 2.0, 0.0, False, [10**9, 10**9 + 1]) == [0.0, 2.0]


def test_response_keeps_the_digits_of_slow_directions() -> None:
    """1 - (1 - 1e-14)^1000 is 1e-11 to 12 digits; computed as written it has 3."""
    assert moved(1e-12, 1e-2, 0.0, False, [1000])[0] == pytest.approx(10.0, rel=1e-10)


def test_response_beyond_the_limit_overflows_to_no_number() -> None:
    phi = moved(3.0, 1.0, 0.0, False, [10, 10**6])
    assert phi[0] == pytest.approx((1 - 2.0**10) / 3)
    assert not torch.isfinite(torch.tensor(phi[1]))


def test_response_of_momentum_zero_is_that_of_plain_descent() -> None:
    curvature_tp = torch.tensor([[0.0, 0.3, 1.9]], dtype=torch.float64)
    rate_t, zero_t = torch.tensor([0.7], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    steps_te = torch.tensor([[0, 1, 13, 500]])
    plain = descent(curvature_tp, rate_t, steps_te)
    torch.testing.assert_close(descent_with_momentum(curvature_tp, rate_t, zero_t, zero_t.bool(), steps_te), plain)
