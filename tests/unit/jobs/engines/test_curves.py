"""Which epochs are evaluated, which is kept, and when a curve has come to rest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.engines.curves import (
    best_epoch_index,
    converged_by_gap,
    converged_by_plateau,
    nearest_of_equals,
    no_worse_than_mean,
)
from jobs.engines.settings import evaluated_epochs, initial_weights

NAN, INF = float("nan"), float("inf")


@given(epochs=st.integers(1, 10**9), number=st.integers(1, 100))
def test_evaluated_epochs_rise_to_the_last(epochs: int, number: int) -> None:
    epochs_e = evaluated_epochs(epochs, number).tolist()
    assert epochs_e == sorted(set(epochs_e))
    assert epochs_e[0] >= 1
    assert epochs_e[-1] == epochs
    assert len(epochs_e) <= number + 1


def test_evaluated_epochs_are_log_spaced() -> None:
    assert evaluated_epochs(10_000, 5).tolist() == [1, 10, 100, 1000, 10_000]


@pytest.mark.parametrize(
    ("curve", "best"),
    [
        ([3.0, 1.0, 2.0], 1),
        ([3.0, 2.0, 1.0], 2),
        ([1.0, 1.0, 1.0], 2),
        ([1.0, 1.0 + 1e-9, 1.1], 1),
        ([2.0, 1.0, NAN], 1),
        ([2.0, 1.0, INF], 1),
        ([NAN, 1.0, 2.0], 1),
    ],
)
def test_best_epoch_is_the_last_of_the_lowest(curve: list[float], best: int) -> None:
    assert best_epoch_index(torch.tensor([[curve]], dtype=torch.float64), "best").item() == best


@pytest.mark.parametrize(("curve", "last"), [([1.0, 2.0, 3.0], 2), ([1.0, 2.0, NAN], 1), ([NAN, NAN, NAN], 0)])
def test_last_epoch_is_the_last_with_a_loss(curve: list[float], last: int) -> None:
    assert best_epoch_index(torch.tensor([[curve]], dtype=torch.float64), "last").item() == last


def test_plateau_is_a_last_change_of_less_than_a_thousandth() -> None:
    curve_mge = torch.tensor([[[9.0, 1.0, 0.9995], [9.0, 1.0, 0.99], [9.0, 1.0, NAN]]], dtype=torch.float64)
    assert converged_by_plateau(curve_mge).tolist() == [[True, False, False]]


def test_plateau_needs_two_evaluations() -> None:
    assert converged_by_plateau(torch.ones(1, 2, 1)).tolist() == [[False, False]]


def test_gap_is_closed_within_a_millionth_of_the_deviation() -> None:
    assert converged_by_gap(torch.tensor([[9e-7, 2e-6, NAN, INF]])).tolist() == [[True, False, False, False]]


def test_no_worse_than_the_mean_is_asked_of_every_loss_but_a_quantile() -> None:
    r2_mg = torch.tensor([[0.5, -1e-12, -0.1, NAN]], dtype=torch.float64)
    assert no_worse_than_mean(r2_mg, "mse").tolist() == [[True, True, False, False]]
    assert no_worse_than_mean(r2_mg, "quantile").tolist() == [[True, True, True, True]]


@pytest.mark.parametrize(
    ("costs", "gaps", "nearest"),
    [
        ([1.0, 1.0 + 1e-15, 2.0], [1e-7, 1e-9, 1e-12], [False, True, False]),
        ([1.0, 1.0, 1.0], [1e-16, 1e-15, 1e-9], [True, True, False]),
        ([2.0, 1.0, 1.0 + 1e-15], [NAN, NAN, NAN], [False, True, False]),
        ([NAN, INF, 3.0], [NAN, NAN, 0.5], [False, False, True]),
        ([NAN, INF, NAN], [NAN, NAN, NAN], [False, False, False]),
    ],
)
def test_nearest_of_equals_is_nearest_to_the_limit(costs: list[float], gaps: list[float], nearest: list[bool]) -> None:
    cost_mg, gap_mg = (torch.tensor([values], dtype=torch.float64) for values in (costs, gaps))
    assert nearest_of_equals(cost_mg, gap_mg).tolist() == [nearest]


@pytest.mark.parametrize("bias", [True, False])
def test_initial_weights_are_those_of_linear(bias: bool) -> None:
    torch.manual_seed(5)
    linear = torch.nn.Linear(3, 1, bias=bias)
    expected_p = torch.cat([linear.weight[0], linear.bias] if bias else [linear.weight[0]])
    assert torch.equal(initial_weights(3, bias, seed=5), expected_p.detach().double())
