"""The epoch of divergence: the first whose loss a float32 loop sums to infinity."""

from __future__ import annotations

import pytest
import torch

from jobs.engines.closed_form.descent import prepare
from jobs.engines.closed_form.divergence import divergence_epoch, earlier
from jobs.engines.moments import moments_of
from jobs.engines.settings import TrainingSettings
from tests.oracles import grid, plain_loop

EPOCHS = 1000


def correlated() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    common_n1 = torch.randn(50, 1, generator=generator, dtype=torch.float64)
    x_nd = common_n1 + 0.3 * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    return x_nd, x_nd.sum(1)


def epochs_of(rates: list[float], settings: TrainingSettings) -> list[int]:
    last_mg = torch.full((1, len(rates)), settings.epochs)
    epoch_mg = divergence_epoch(prepare(moments_of(*correlated()), grid(rates), settings), last_mg)
    return [int(epoch) for epoch in epoch_mg[0]]


@pytest.mark.parametrize("rate", [0.35, 0.5, 1.0, 30.0])
def test_divergence_is_at_the_epoch_of_the_plain_loop(rate: float) -> None:
    run = plain_loop(*correlated(), [EPOCHS], rate)
    assert run.diverged_at > 0
    assert abs(epochs_of([rate], TrainingSettings(EPOCHS))[0] - run.diverged_at) <= 1


def test_divergence_is_never_within_the_stability_limit() -> None:
    assert epochs_of([0.001, 0.1, 0.2], TrainingSettings(EPOCHS)) == [0, 0, 0]


def test_divergence_of_one_rate_does_not_change_another() -> None:
    together = epochs_of([0.1, 0.35, 1.0], TrainingSettings(EPOCHS))
    assert together == [epochs_of([rate], TrainingSettings(EPOCHS))[0] for rate in (0.1, 0.35, 1.0)]


def test_divergence_beyond_the_last_epoch_is_none() -> None:
    at = epochs_of([0.35], TrainingSettings(EPOCHS))[0]
    assert epochs_of([0.35], TrainingSettings(at + 1)) == [at]
    assert epochs_of([0.35], TrainingSettings(at - 5)) == [0]


def test_earlier_takes_the_first_of_two_and_zero_for_none() -> None:
    assert earlier(torch.tensor([0, 0, 5, 5]), torch.tensor([0, 7, 0, 3])).tolist() == [0, 7, 5, 3]
