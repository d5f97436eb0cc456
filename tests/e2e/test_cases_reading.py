"""Kinds of files that people have: each is read as it is meant, or refused in one line that says how."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import lzma
from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from tests.samples.people import (
    NUMBERS,
    PLAIN,
    ROWS,
    Desk,
    Json,
    least_squares,
    parquet,
    requires_least_squares,
    text_of,
    with_cells,
    with_column,
)

FILES: Mapping[str, tuple[str, str | bytes, Json]] = {
    "comment lines": ("data.csv", f"# exported\n{PLAIN}# end\n", {"comment": "#"}),
    "comment after a row": ("data.csv", PLAIN.replace("\n", " # seen\n", 3), {"comment": "#"}),
    "decimal comma": (
        "data.csv",
        text_of([[cell.replace(".", ",") for cell in row] for row in ROWS], ";"),
        {"decimal": ",", "delimiter": ";"},
    ),
    "decimal comma, the delimiter found": (
        "data.csv",
        text_of([[cell.replace(".", ",") for cell in row] for row in ROWS], ";"),
        {"decimal": ","},
    ),
    "duplicate name of another column": (
        "data.csv",
        text_of([[*row, "x", "y"] for row in ROWS], header="a,b,y,note,note"),
        {},
    ),
    "gzip": ("data.csv.gz", gzip.compress(PLAIN.encode()), {"source": "data.csv.gz"}),
    "bzip2": ("data.csv.bz2", bz2.compress(PLAIN.encode()), {"source": "data.csv.bz2"}),
    "xz": ("data.tsv.xz", lzma.compress(text_of(ROWS, "\t").encode()), {"source": "data.tsv.xz"}),
    "zstandard": ("data.csv.zst", pa.Codec("zstd").compress(PLAIN.encode(), asbytes=True), {"source": "data.csv.zst"}),
    "header with blanks": ("data.csv", PLAIN.replace("a,b,y", "a, b , y"), {}),
    "quoted header with blanks": ("data.csv", PLAIN.replace("a,b,y", 'a, "b", "y"'), {}),
    "inch mark in the header": ("data.csv", text_of(with_column(lambda at: "5"), header='a,b,y,width (")'), {}),
    "inch marks, an even number": ("data.csv", text_of(with_column(lambda at: '24"'), header="a,b,y,size"), {}),
    "inch marks, an odd number": (
        "data.csv",
        text_of(with_column(lambda at: '24"' if at else "24"), header="a,b,y,size"),
        {},
    ),
    "latin-1 in another column": (
        "data.csv",
        text_of(with_column(lambda at: "Müller"), header="a,b,y,who").encode("cp1252"),
        {"encoding": "cp1252"},
    ),
    "latin-1 in a column that nobody asked for": (
        "data.csv",
        text_of(with_column(lambda at: "Müller"), header="a,b,y,Straße").encode("cp1252"),
        {},
    ),
    "utf-16 by its mark": ("data.csv", PLAIN.encode("utf-16"), {}),
    "byte order mark": ("data.csv", PLAIN.encode("utf-8-sig"), {}),
    "row without a target": ("data.csv", PLAIN + "1.0,1.0,\n2.0,2.0,NA\n", {"missing_target": "drop"}),
    "no header": ("data.csv", PLAIN.partition("\n")[2], {"names": ["a", "b", "y"]}),
    "lines above the header": ("data.csv", f"Report;;\nDate;2024-01-05;\n\n{PLAIN}", {"skiprows": 3}),
    "sep= line of Excel": ("data.csv", f"sep=;\n{text_of(ROWS, ';')}", {}),
    "trailing delimiter of rows": ("data.csv", PLAIN.replace("\n", ",\n").replace("y,\n", "y\n"), {}),
    "trailing delimiter everywhere": ("data.csv", PLAIN.replace("\n", ",\n"), {}),
    "empty columns of Excel": ("data.csv", PLAIN.replace("\n", ",,\n"), {}),
    "units row": ("data.csv", PLAIN.replace("a,b,y\n", "a,b,y\nm2,,EUR\n"), {"skiprows": [1]}),
    "carriage returns": ("data.csv", PLAIN.replace("\n", "\r"), {}),
    "semicolons, found": ("data.csv", text_of(ROWS, ";"), {}),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_each_kind_gives_the_least_squares_of_its_rows(desk: Desk, kind: str) -> None:
    name, content, keys = FILES[kind]
    desk.write(name, content)
    requires_least_squares(desk.best(keys), least_squares(NUMBERS))


@pytest.mark.parametrize("mark", ["-", ".", "?", "\\N", "#DIV/0!", "#VALUE!", "NA", "None", ""])
def test_a_mark_of_a_missing_number_stands_for_the_mean_in_training_and_prediction(desk: Desk, mark: str) -> None:
    desk.write("data.csv", text_of([[mark, *ROWS[0][1:]], *ROWS[1:]]))
    numbers = NUMBERS.copy()
    numbers[0, 0] = NUMBERS[1:, 0].mean()
    best = desk.best({"features": [{"name": "a", "missing": "mean"}, "b"]})
    requires_least_squares(best, expected := least_squares(numbers))
    desk.write("rows.csv", f"a,b\n{mark},2\n1,2\n")
    mean, one = desk.predictions("--input", str(desk.folder / "rows.csv"))
    assert one == pytest.approx(expected[0] + expected[1] + 2 * expected[2])
    assert mean == pytest.approx(expected[0] + numbers[0, 0] * expected[1] + 2 * expected[2])


def test_na_values_are_marks_beside_the_usual_ones(desk: Desk) -> None:
    desk.write("data.csv", text_of([["-99", *ROWS[0][1:]], *ROWS[1:]]))
    numbers = NUMBERS.copy()
    numbers[0, 0] = NUMBERS[1:, 0].mean()
    best = desk.best({"features": [{"name": "a", "missing": "mean"}, "b"], "na_values": ["-99"]})
    requires_least_squares(best, least_squares(numbers))


@pytest.mark.parametrize(("column", "at"), [("n", 3), ("n", 20)])
def test_a_stray_quote_swallows_no_row(desk: Desk, column: str, at: int) -> None:
    rows = with_column(lambda row: '"Weird' if row == at else 'end"' if row == at + 3 else "n")
    desk.write("data.csv", text_of(rows, header=f"a,b,y,{column}"))
    answer = desk.train()
    if answer.code == 0:
        [document] = answer.document["datasets"]
        requires_least_squares(document["best"], least_squares(NUMBERS))
    else:
        assert f"data.csv:{at + 2}" in answer.line


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (PLAIN.partition("\n")[2], "header"),
        (f"Report;;\nDate;2024-01-05;\n\n{PLAIN}", "skiprows"),
        (f"# exported\n{PLAIN}", "comment"),
        (text_of([[cell.replace(".", ",") for cell in row] for row in ROWS], ";"), "decimal"),
        (text_of(with_cells(2, lambda cell: f'"1,00{cell}"')), "thousands"),
        (PLAIN.replace("a,b,y\n", "a,b,y\nm2,,EUR\n"), "skiprows"),
        (text_of([["~", *ROWS[0][1:]], *ROWS[1:]]), "na_values"),
    ],
    ids=["no header", "preamble", "comment", "decimal", "thousands", "units", "mark"],
)
def test_a_refusal_names_the_option_that_reads_the_file(desk: Desk, content: str | bytes, word: str) -> None:
    desk.write("data.csv", content)
    answer = desk.train()
    assert answer.code == 2
    assert word in answer.line
    assert "kind: categorical" not in answer.line


@pytest.mark.parametrize(("decimal", "thousands"), [(".", ","), (",", "."), (".", " "), (".", "'"), (",", "\u00a0")])
def test_numbers_with_thousands_are_read(desk: Desk, decimal: str, thousands: str) -> None:
    def written(cell: str) -> str:
        return f"{1000 * float(cell):,.2f}".translate({ord(","): thousands, ord("."): decimal})

    rows = [[cell.replace(".", decimal) for cell in row[:2]] + [written(row[2])] for row in ROWS]
    desk.write("data.csv", text_of(rows, ";"))
    best = desk.best({"thousands": thousands, "decimal": decimal, "delimiter": ";"})
    requires_least_squares(best, [1000 * weight for weight in least_squares(NUMBERS)])


def test_levels_in_another_encoding_are_refused_with_the_encoding_that_reads_them(desk: Desk) -> None:
    names = ("Müller", "Groß", "Weiß")
    text = text_of(with_column(lambda at: names[at % 3]), header="a,b,y,who")
    desk.write("data.csv", text.encode("cp1252"))
    keys: Json = {"features": ["a", "b", {"name": "who", "kind": "categorical"}]}
    answer = desk.train(keys)
    assert answer.code == 2
    assert "'encoding: cp1252'" in answer.line
    best = desk.best(keys | {"encoding": "cp1252"})
    assert list(best["coefficients"]) == ["intercept", "a", "b", "who=Müller", "who=Weiß"]


def test_levels_that_differ_by_blanks_are_one(desk: Desk) -> None:
    desk.write("data.csv", text_of(with_column(lambda at: ("n", "n ", "s", " s")[at % 4]), header="a,b,y,g"))
    best = desk.best({"features": ["a", "b", {"name": "g", "kind": "categorical"}]})
    assert list(best["coefficients"]) == ["intercept", "a", "b", "g=s"]


DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=at * 5 % 24) for at in range(24)]


@pytest.mark.parametrize(
    "array",
    [
        pa.array(DAYS, pa.date32()),
        pa.array([dt.datetime.combine(day, dt.time()) for day in DAYS], pa.timestamp("us")),
        pa.array([dt.datetime.combine(day, dt.time()) for day in DAYS], pa.timestamp("ns", "UTC")),
        pa.array([day.isoformat() for day in DAYS]),
    ],
    ids=["date", "timestamp", "in a zone", "text"],
)
def test_a_date_is_a_feature_in_days(desk: Desk, array: pa.Array) -> None:
    source = parquet(desk, x=array)
    best = desk.best(source | {"features": ["a", "b", {"name": "x", "kind": "datetime"}]})
    days_n = np.array([(day - dt.date(2024, 1, 1)).days for day in DAYS])
    expected = least_squares(np.column_stack([NUMBERS[:, :2], days_n, NUMBERS[:, 2]]))
    assert best["coefficients"]["x"] == pytest.approx(expected[3], rel=1e-6)


def test_a_date_without_a_kind_is_refused_with_a_remedy_that_works(desk: Desk) -> None:
    source = parquet(desk, x=pa.array(DAYS, pa.date32()))
    answer = desk.train(source | {"features": ["a", "b", "x"]})
    assert answer.code == 2
    assert "kind: datetime" in answer.line


@pytest.mark.parametrize("as_timestamp", [False, True])
def test_groups_of_dates_are_named_as_iso_8601_writes_them(desk: Desk, as_timestamp: bool) -> None:
    days = [dt.date(2024, 1, 1 + at % 2) for at in range(24)]
    dates = pa.array(days, pa.date32())
    source = parquet(desk, g=dates.cast(pa.timestamp("us")) if as_timestamp else dates)
    answer = desk.train(source | {"group_by": ["g"]})
    assert answer.code == 0, answer.err
    assert [each["dataset"] for each in answer.document["datasets"]] == ["2024-01-01", "2024-01-02"]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int8(), pa.decimal128(9, 2)])
def test_whole_numbers_are_categories_whatever_their_type(desk: Desk, kind: pa.DataType) -> None:
    numbers = [(1, 2, 10)[at % 3] for at in range(24)]
    values = [Decimal(number) for number in numbers] if pa.types.is_decimal(kind) else numbers
    source = parquet(desk, x=pa.array(values, kind))
    best = desk.best(source | {"features": ["a", "b", {"name": "x", "kind": "categorical"}]})
    assert list(best["coefficients"]) == ["intercept", "a", "b", "x=10", "x=2"]


@pytest.mark.parametrize(
    ("source", "endpoint", "word"),
    [
        ("s3://data//plain.csv", "http://127.0.0.1:9", "s3://data//plain.csv"),
        ("s3://data/plain.csv", "localhost:9000", "http://localhost:9000"),
    ],
    ids=["double slash", "endpoint without a scheme"],
)
def test_a_wrong_address_of_s3_is_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, source: str, endpoint: str, word: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    answer = desk.train({"source": source})
    assert answer.code in (2, 4)
    assert word in answer.line


def test_a_store_at_an_endpoint_without_a_scheme_is_one_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    answer = desk.run("models", "list", "t", "--store", "s3://data/st")
    assert answer.code in (2, 4)
    assert "http://localhost:9000" in answer.line
