"""Schedules: the factors of torch's schedulers, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, StepLR

from jobs.engines.settings import Schedule

EPOCHS = 20
BY_TORCH: dict[str, tuple[Schedule, Callable[[torch.optim.Optimizer], LRScheduler]]] = {
    "constant": (Schedule(), lambda optimizer: LambdaLR(optimizer, lambda epoch: 1.0)),
    "step": (Schedule("step", every=4, factor=0.3), lambda optimizer: StepLR(optimizer, 4, 0.3)),
    "cosine": (Schedule("cosine"), lambda optimizer: CosineAnnealingLR(optimizer, EPOCHS)),
    "inverse_time": (
        Schedule("inverse_time", decay=0.1),
        lambda optimizer: LambdaLR(optimizer, lambda epoch: 1 / (1 + 0.1 * epoch)),
    ),
}


@pytest.mark.parametrize("kind", BY_TORCH)
def test_schedule_is_that_of_torchs_scheduler(kind: str) -> None:
    schedule, make = BY_TORCH[kind]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    for epoch in range(EPOCHS):
        factor = schedule.at(epoch, EPOCHS)
        assert factor == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_unknown_schedule_is_refused_not_constant() -> None:
    schedule = Schedule("linear")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="'linear'"):
        schedule.at(0, EPOCHS)
