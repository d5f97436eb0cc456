from __future__ import annotations

import pytest

from handler.wording import listed, nearest, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"),
        ("a\nb", r"'a\nb'"),
        (None, "None"),
        (True, "True"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "an object"),
        (10**300, "an integer of many digits"),
        (-(10**300), "an integer of many digits"),
        (b"x", "not JSON"),
    ],
)
def test_shown_is_one_short_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_long_value_is_cut() -> None:
    assert shown("x" * 1000) == "'" + "x" * 59 + "…"


def test_listed_stays_short_whatever_the_names_are() -> None:
    text = listed([f"{i:03d}" + "\x1f𐀀" * 1000 for i in range(1000)])
    assert len(text) < 500
    assert text.endswith("and 988 more")
    assert listed(["a", "b"]) == "['a', 'b']"


@pytest.mark.parametrize(
    ("name", "meant"), [("b", "B"), ("Area ", "area"), ("depht", "depth"), ("soil type", "soil_type"), ("x", None)]
)
def test_nearest_is_the_name_that_was_meant(name: str, meant: str | None) -> None:
    assert nearest(name, ["B", "area", "depth", "soil_type"]) == meant
