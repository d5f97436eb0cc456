"""Dates and times are days since 1970-01-01 UTC."""

from __future__ import annotations

import math

import pytest

from handler.rows.datetimes import days_of


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("1970-01-01", 0.0),
        ("2024-01-01", 19723.0),
        (" 2024-01-01 12:00 ", 19723.5),
        ("2024-01-01T12:00:00Z", 19723.5),
        ("2024-01-01T12:00:00+06:00", 19723.25),
        ("1969-12-31T18:00:00.000", -0.25),
    ],
)
def test_days_of_a_date_or_a_time(text: str, days: float) -> None:
    assert days_of(text) == days


def test_days_of_a_mark_is_missing() -> None:
    assert math.isnan(days_of(""))
    assert math.isnan(days_of("NA"))
    assert math.isnan(days_of("9999", {"9999"}))


@pytest.mark.parametrize("text", ["x", "31/12/2024", "2024-13-01", "19723", "12:30"])
def test_days_of_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        days_of(text)
