"""Learning-rate schedules: a factor on every learning rate, by epoch."""

from __future__ import annotations

import math

from jobs.engines.settings import Schedule


def learning_rate_factor(schedule: Schedule, epoch: int, epochs: int) -> float:
    """Return the factor at `epoch` (from 0) of `epochs`."""
    if schedule.kind == "step":
        return float(schedule.factor ** (epoch // schedule.every))
    if schedule.kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    if schedule.kind == "inverse_time":
        return 1 / (1 + schedule.decay * epoch)
    return 1.0
