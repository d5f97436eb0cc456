"""The parts of a date: year, month, weekday and hour, as whole numbers, as levels, and as points on a circle.

Dates are days since 1970-01-01 UTC, as float64.

Shapes: n rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .transforms import Floats

DatePart = Literal["days", "year", "month", "weekday", "hour"]
Whole = NDArray[np.int64]

CYCLES: dict[DatePart, tuple[int, int]] = {"month": (1, 12), "weekday": (1, 7), "hour": (0, 24)}  # first, and how many
THURSDAY = 3  # the weekday of 1970-01-01, from Monday as 0
SECONDS_A_DAY = 86_400
ROUNDING_S = 1e-4  # float64 holds the days of this century to less than a microsecond


def part_of(part: DatePart, days_n: Floats) -> Whole:
    """Return the part of each date: the year, the month from 1, the weekday from 1 (Monday), the hour from 0."""
    day_n = np.floor(days_n + ROUNDING_S / SECONDS_A_DAY)
    if part == "weekday":
        return (day_n.astype(np.int64) + THURSDAY) % 7 + 1
    if part == "hour":
        second_n = (days_n - day_n) * SECONDS_A_DAY + ROUNDING_S
        return np.clip(second_n // 3600, 0, 23).astype(np.int64)
    date_n = day_n.astype(np.int64).astype("datetime64[D]")
    month_n = date_n.astype("datetime64[M]").astype(np.int64)  # since January 1970
    return month_n // 12 + 1970 if part == "year" else month_n % 12 + 1


def level_of(part: DatePart, value: int) -> str:
    """Return the name of a level: `month=02`; within a part the names are in the order of time."""
    return f"{part}={value:02d}"


def values_of(part: DatePart, levels: tuple[str, ...]) -> tuple[int, ...]:
    """Return the values of the levels of a part, in their order."""
    return tuple(int(level.removeprefix(f"{part}=")) for level in levels if level.startswith(f"{part}="))


def circle_of(part: DatePart, days_n: Floats) -> tuple[Floats, Floats]:
    """Return sine and cosine of the part's place in its cycle: December is next to January."""
    first, length = CYCLES[part]
    angle_n = 2 * np.pi * (part_of(part, days_n) - first) / length
    return np.sin(angle_n), np.cos(angle_n)


def iso_of(days: float) -> str:
    """Return a date as ISO 8601 text: `2026-01-31`, or with its time of day where it has one."""
    moment = np.datetime64(round(days * SECONDS_A_DAY), "s")
    day = moment.astype("datetime64[D]")
    return str(day if day == moment else moment)
