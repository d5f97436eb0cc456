"""Dates and times of text as numbers: days since 1970-01-01 UTC."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from .cells import MISSING

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_WITHOUT_ZONE = datetime(1970, 1, 1)
DAY = timedelta(days=1)


def days_of(text: str, marks: Collection[str] = MISSING) -> float:
    """Return the days, float64, from 1970-01-01 UTC to an ISO 8601 date or time; NaN for a mark of a missing value.

    A time without an offset counts as UTC, a date as its midnight. Raises ValueError for another text.
    """
    cell = text.strip()
    if cell in marks:
        return math.nan
    moment = datetime.fromisoformat(cell)
    return (moment - (EPOCH if moment.tzinfo else EPOCH_WITHOUT_ZONE)) / DAY
