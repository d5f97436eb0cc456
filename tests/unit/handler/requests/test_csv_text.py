from __future__ import annotations

import pytest

from handler.errors import PayloadError
from handler.requests.csv_text import table_of_csv
from handler.requests.limits import MAX_INSTANCES

YEARS = ("2019", "2020")


@pytest.mark.parametrize(
    ("text", "names", "header"),
    [
        ("2019,2020\n1,2\n", YEARS, ("2019", "2020")),
        ("2020,2019\n1,2\n", YEARS, ("2020", "2019")),
        ("2020\n1\n", YEARS, ("2020",)),
        ("2019,dataset,2020\n1,north,2\n", YEARS, ("2019", "dataset", "2020")),
        ("2019,dataset,2020\n1,north,2\n", None, ("2019", "dataset", "2020")),
        ("nan,true\n1,2\n", ("nan", "true"), ("nan", "true")),
        ("area,2020\n1,2\n", ("area", "2020"), ("area", "2020")),
        ("2019,2021\n1,2\n", YEARS, None),
        ("2019,2019\n1,2\n", YEARS, None),
        ("2019,2020\n1,2\n", ("a", "b"), None),
        ("2019,2020\n1,2\n", None, None),
        ("area,width\n1,2\n", ("area", "depth"), ("area", "width")),
    ],
)
def test_a_line_that_holds_names_of_features_is_the_header(
    text: str, names: tuple[str, ...] | None, header: tuple[str, ...] | None
) -> None:
    table = table_of_csv(text, names, 2)
    assert table.names == header
    assert len(table) == (2 if header is None else 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n" * (2 * MAX_INSTANCES + 3), f"send at most {MAX_INSTANCES} instances"),
        ("1,2\n" * (MAX_INSTANCES + 1), f"send at most {MAX_INSTANCES} at a time"),
        ("," * 1_000_000, "a line has 1000001 cells"),
        ("1,2\n1," + "," * 1_000_000, "a line has 1000002 cells"),
        ("a,b\n", "no instances"),
        ("\n\n", "no instances"),
    ],
)
def test_a_text_with_too_much_or_nothing_in_it_is_refused(text: str, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        table_of_csv(text, ("a", "b"), 2)


def test_the_longest_table_is_read_between_blank_lines() -> None:
    assert len(table_of_csv("a,b\n" + "1,2\n\n" * MAX_INSTANCES, ("a", "b"), 2)) == MAX_INSTANCES
