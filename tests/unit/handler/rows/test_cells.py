"""A cell of text is one thing everywhere: a number, a truth, missing, or a level."""

from __future__ import annotations

import math

import pytest

from handler.rows.cells import MISSING, level_of, number_of


@pytest.mark.parametrize("mark", sorted(MISSING))
def test_number_of_a_mark_is_missing(mark: str) -> None:
    assert math.isnan(number_of(mark))
    assert math.isnan(number_of(f" {mark} "))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        (" 1.5 ", 1.5),
        ("+.5", 0.5),
        ("-1E-3", -0.001),
        ("007", 7.0),
        ("inf", math.inf),
        ("TRUE", 1.0),
        ("Yes", 1.0),
        ("no", 0.0),
        ("False", 0.0),
    ],
)
def test_number_of_a_number_or_a_truth(text: str, number: float) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["x", "1_000", "١", "0x10", "1,5", "1 5", "$1", "5%", "yEs", "1;2", "²"])
def test_number_of_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        number_of(text)


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "number"),
    [
        ("2,5", ",", None, 2.5),
        ("7,966.0", ".", ",", 7966.0),
        ("-1.234.567,25", ",", ".", -1234567.25),
        ("1 234,5", ",", " ", 1234.5),
        ("1\u202f234,5", ",", " ", 1234.5),
        ("12,34,567", ".", ",", 1234567.0),
        ("1'234'567.5e2", ".", "'", 123456750.0),
        ("999", ".", ",", 999.0),
    ],
)
def test_number_of_separators(text: str, decimal: str, thousands: str | None, number: float) -> None:
    assert number_of(text, decimal=decimal, thousands=thousands) == number


@pytest.mark.parametrize(
    ("text", "decimal", "thousands"),
    [
        ("2.5", ",", None),
        ("1,5", ".", ","),
        ("1,23", ".", ","),
        (",123", ".", ","),
        ("1.5", ",", "."),
        ("1,,234", ".", ","),
    ],
)
def test_number_of_separators_elsewhere_is_refused(text: str, decimal: str, thousands: str | None) -> None:
    with pytest.raises(ValueError):
        number_of(text, decimal=decimal, thousands=thousands)


def test_number_of_marks_that_are_named() -> None:
    assert math.isnan(number_of("-999", MISSING | {"-999"}))


def test_level_of_ignores_blanks_around() -> None:
    assert level_of(" north \t") == "north"
    assert level_of("001") == "001"
