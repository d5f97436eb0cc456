"""Excel sheets, folders that name columns, dates, and parquet's types."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.columns import Columns, Wanted
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.formats import format_of
from jobs.sources.fragments import find_fragments
from jobs.sources.job_datasets import resolve_source
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.s3_settings import S3Settings
from tests.samples.sheets import EPOCH_DAYS, Cell, write_sheets

S3 = S3Settings()
ROWS: list[list[Cell]] = [[1, 2.5, 3.25], [2, 0.5, 1e-7], [3.5, 2, -4], [4, 4, 4.5]]


def read(folder: Path, source: str, **keys: Any) -> Dataset:
    config = {"name": "d", "source": source, "target": "y", "features": ["a", "b"], **keys}
    return read_dataset(resolve_source(DatasetConfig.model_validate(config), folder, S3), bias=True)


def columns_of(folder: Path, source: str, *wanted: Wanted, options: ReadOptions | None = None) -> list[Columns]:
    fragments = find_fragments([source], file_format="auto", options=options or ReadOptions(), folder=folder, s3=S3)
    return list(read_columns(fragments, wanted, S3))


def refusal(folder: Path, source: str, *wanted: Wanted, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        columns_of(folder, source, *wanted, options=ReadOptions(**keys))
    return str(caught.value).replace(f"{folder}/", "")


def cells_of(chunks: list[Columns], name: str) -> list[Any]:
    return [
        cell
        for chunk in chunks
        for cell in (chunk.texts[name].cells() if name in chunk.texts else chunk.numbers[name]).tolist()
    ]


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ([["a", "b", "y"], *ROWS], {}),
        ([["Report", None, None], [], ["a", " b ", "y\n"], *ROWS], {"skiprows": 2}),
        ([["a", "b", "y"], ["m", "kg", None], *ROWS, ["sum", 9, None]], {"skiprows": [1], "skipfooter": 1}),
        ([["a", "b", "y"], *ROWS], {"sheet_name": "Data", "decimal": ",", "delimiter": ";"}),
        ([["a", "b", "y"], [], *ROWS, []], {"sheet_name": 1}),
        (ROWS, {"names": ["a", "b", "y"]}),
        ([["note", "a", "b", "y"], *(['5", or so', *row] for row in ROWS)], {}),
        ([["a", "b", "y"], *([str(cell) for cell in row] for row in ROWS)], {}),
    ],
)
def test_sheets_are_read_as_csv_is(rows: list[list[Cell]], keys: dict[str, Any], tmp_path: Path) -> None:
    sheets = {"Info": [["x"]], "Data": rows} if "sheet_name" in keys else {"Data": rows, "Info": [["x"]]}
    write_sheets(tmp_path / "t.xlsx", sheets)
    dataset = read(tmp_path, "t.xlsx", **keys)
    assert np.column_stack([dataset.x_nd, dataset.y_n]).tolist() == ROWS


def test_sheets_have_texts_truths_and_days(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [
        ["k", "t", "d"],
        ["007", True, EPOCH_DAYS + 1.5],
        [7, False, EPOCH_DAYS + 0],
        [7.5, None, None],
    ]
    write_sheets(tmp_path / "t.xlsx", {"S": rows}, dates=[2])
    chunks = columns_of(tmp_path, "t.xlsx", Wanted("k", "text"), Wanted("t"), Wanted("d", "datetime"))
    assert cells_of(chunks, "k") == ["007", "7", "7.5"]
    assert cells_of(chunks, "t")[:2] == [1.0, 0.0]
    assert cells_of(chunks, "d")[:2] == [1.5, 0.0]
    assert np.isnan([cells_of(chunks, "t")[2], cells_of(chunks, "d")[2]]).all()
    days = cells_of(columns_of(tmp_path, "t.xlsx", Wanted("d", "text")), "d")
    assert days == ["1970-01-02T12:00:00", "1970-01-01", None]


def test_sheets_that_are_wrong_are_named(tmp_path: Path) -> None:
    write_sheets(tmp_path / "t.xlsx", {"One": [["a"], [1], ["x"], [2]], "Two": []})
    assert refusal(tmp_path, "t.xlsx", Wanted("a")).startswith("t.xlsx:3: column 'a': 'x' is not a number")
    missing = "t.xlsx: there is no sheet 'Three': set 'sheet_name' to one of 'One', 'Two'"
    assert refusal(tmp_path, "t.xlsx", Wanted("a"), sheet_name="Three") == missing
    assert "there is no sheet 2" in refusal(tmp_path, "t.xlsx", Wanted("a"), sheet_name=2)
    assert "t.xlsx: the file is empty" in refusal(tmp_path, "t.xlsx", Wanted("a"), sheet_name="Two")
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04rest")
    assert "t.xlsx: the file is not of Excel, or is damaged" in refusal(tmp_path, "t.xlsx", Wanted("a"))


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    """Return a folder with files by year and region."""
    for at, (year, region) in enumerate([("2023", "north"), ("2023", "so%2Futh"), ("2024", "north")]):
        folder = tmp_path / "hive" / f"year={year}" / f"region={region}"
        folder.mkdir(parents=True)
        rows = {"a": [1.0 + at, 2.0, 3.0], "y": [float(at), 1.0, 5.0 * at]}
        pq.write_table(pa.table(rows), folder / "part.parquet")
        (folder / "part.csv").write_text("a,y\n" + "\n".join(map("{},{}".format, *rows.values())))
    return tmp_path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_folders_name_columns(ending: str, hive: Path) -> None:
    source = f"hive/**/*.{ending}"
    wanted = (Wanted("year"), Wanted("region", "text"), Wanted("a"), Wanted("y"))
    chunks = columns_of(hive, source, *wanted)
    assert cells_of(chunks, "year") == [2023.0] * 6 + [2024.0] * 3
    assert cells_of(chunks, "region") == ["north"] * 3 + ["so/uth"] * 3 + ["north"] * 3
    assert cells_of(chunks, "a") == [1.0, 2.0, 3.0, 2.0, 2.0, 3.0, 3.0, 2.0, 3.0]
    assert cells_of(columns_of(hive, source, Wanted("region", "text")), "region") == cells_of(chunks, "region")
    dataset = read(hive, source, features=["year", {"name": "region", "kind": "categorical"}, "a"])
    assert dataset.card.columns == ("year", "region=so/uth", "a")
    [first, *_] = find_fragments([source], file_format="auto", options=ReadOptions(), folder=hive, s3=S3)
    assert first.format.column_names(first.location, S3) == ("a", "y", "year", "region")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_folders_without_a_value_or_with_words_are_named(ending: str, hive: Path) -> None:
    (hive / "hive" / "year=2023").rename(hive / "hive" / "year=__HIVE_DEFAULT_PARTITION__")
    assert cells_of(columns_of(hive, f"hive/**/*.{ending}", Wanted("year", "text")), "year").count(None) == 6
    with pytest.raises(DataError, match=r"part\.\w+: column 'year': '' is missing: fill it"):
        read(hive, f"hive/**/*.{ending}", features=["year", "a"])
    message = refusal(hive, f"hive/**/*.{ending}", Wanted("region"))
    assert "the folder has 'region' = 'north', which is not a number: set 'kind: categorical'" in message


def test_folders_give_way_to_a_column_of_the_file(hive: Path) -> None:
    path = hive / "hive" / "year=2024" / "region=north" / "own.csv"
    path.write_text("a,year\n1,7\n")
    assert cells_of(columns_of(hive, str(path), Wanted("year")), "year") == [7.0]
    path.write_text("a,year\n1,x\n")
    assert "own.csv:2: column 'year': 'x' is not a number" in refusal(hive, str(path), Wanted("year"))


NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
TYPES: list[tuple[pa.Array, list[Any], list[Any]]] = [
    (pa.array([1, None, 3], pa.int64()), [1.0, None, 3.0], ["1", None, "3"]),
    (pa.array([1.0, None, 10.0]), [1.0, None, 10.0], ["1", None, "10"]),
    (pa.array([0.1, 2.0, None], pa.float32()), [np.float32(0.1), 2.0, None], ["0.1", "2", None]),
    (pa.array([True, False, None]), [1.0, 0.0, None], ["true", "false", None]),
    (pa.array([Decimal("1.10"), Decimal("2"), None], pa.decimal128(9, 3)), [1.1, 2.0, None], ["1.1", "2", None]),
    (pa.array([7, 8, None], pa.uint8()).dictionary_encode(), [7.0, 8.0, None], ["7", "8", None]),
]


@pytest.mark.parametrize(("array", "numbers", "texts"), TYPES)
def test_parquet_types_as_numbers_and_as_text(
    array: pa.Array, numbers: list[Any], texts: list[Any], tmp_path: Path
) -> None:
    pq.write_table(pa.table({"a": array}), tmp_path / "t.parquet")
    found = [None if np.isnan(cell) else cell for cell in cells_of(columns_of(tmp_path, "t.parquet", Wanted("a")), "a")]
    assert found == pytest.approx(numbers)
    assert cells_of(columns_of(tmp_path, "t.parquet", Wanted("a", "text")), "a") == texts


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_texts_are_trimmed(kind: pa.DataType, tmp_path: Path) -> None:
    plain = pa.array(["n", " n ", None, "", "x"])
    array = plain.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else plain.cast(kind)
    pq.write_table(pa.table({"a": array}), tmp_path / "t.parquet")
    (chunk,) = columns_of(tmp_path, "t.parquet", Wanted("a", "text"), options=ReadOptions(na_values=("x",)))
    assert chunk.texts["a"].cells().tolist() == ["n", "n", None, None, None]
    assert chunk.texts["a"].levels.tolist() == ["n"]


DAYS: list[tuple[Any, list[str | None]]] = [
    (pa.array([date(2024, 1, 1), date(1969, 12, 31), None], pa.date32()), ["2024-01-01", "1969-12-31", None]),
    (pa.array([date(2024, 1, 1), date(1969, 12, 31), None], pa.date64()), ["2024-01-01", "1969-12-31", None]),
    *(
        (
            pa.array([datetime(2024, 1, 1), datetime(1969, 12, 31), None], pa.timestamp(unit)),
            ["2024-01-01", "1969-12-31", None],
        )
        for unit in ("s", "ms", "us", "ns")
    ),
    (pa.array(["2024-01-01", " 1969-12-31T00:00Z", None]), ["2024-01-01", "1969-12-31T00:00Z", None]),
    (
        pa.array(
            [datetime(2024, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), None],
            pa.timestamp("us", "Asia/Tokyo"),
        ),
        ["2024-01-01T00:00:00Z", "1969-12-31T00:00:00Z", None],
    ),
]


@pytest.mark.parametrize(("array", "texts"), DAYS)
def test_parquet_days_as_numbers_and_as_text(array: Any, texts: list[str | None], tmp_path: Path) -> None:
    pq.write_table(pa.table({"d": array}), tmp_path / "t.parquet")
    days = cells_of(columns_of(tmp_path, "t.parquet", Wanted("d", "datetime")), "d")
    assert days[:2] == [19723.0, -1.0]
    assert np.isnan(days[2])
    assert cells_of(columns_of(tmp_path, "t.parquet", Wanted("d", "text")), "d") == texts
    if not pa.types.is_string(array.type):
        assert "set 'kind: datetime'" in refusal(tmp_path, "t.parquet", Wanted("d"))


def test_parquet_parts_of_days_are_exact(tmp_path: Path) -> None:
    noon = pa.array([NOON], pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({"d": noon}), tmp_path / "t.parquet")
    assert cells_of(columns_of(tmp_path, "t.parquet", Wanted("d", "datetime")), "d") == [19723.5]
    assert cells_of(columns_of(tmp_path, "t.parquet", Wanted("d", "text")), "d") == ["2024-01-01T12:00:00Z"]


def test_csv_days(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("d,e\n2024-01-01,1\nNA,2\n2024-01-01T12:00:00+06:00,3\n")
    days = cells_of(columns_of(tmp_path, "t.csv", Wanted("d", "datetime")), "d")
    assert (days[0], days[2]) == (19723.0, 19723.25)
    assert np.isnan(days[1])
    (tmp_path / "t.csv").write_text("d,e\n2024-01-01,1\n31.12.2024,2\n")
    message = "t.csv:3: column 'd': '31.12.2024' is neither a date nor a time: write it as 2024-01-31"
    assert refusal(tmp_path, "t.csv", Wanted("d", "datetime")).startswith(message)
    assert "'2024-01-01' is not a number: set 'kind: datetime' for dates" in refusal(
        tmp_path, "t.csv", Wanted("d")
    ).replace("31.12.2024", "")


def test_parquet_numbers_that_are_marks(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, -999, 3], "b": [-999, 2, 3]}), tmp_path / "t.parquet")
    options = ReadOptions(na_values_of=(("a", ("-999",)),))
    chunks = columns_of(tmp_path, "t.parquet", Wanted("a"), Wanted("b"), options=options)
    assert np.isnan(cells_of(chunks, "a")).tolist() == [False, True, False]
    assert cells_of(chunks, "b") == [-999, 2, 3]


REFUSE = """
import sys
from jobs.errors import DataError
from jobs.sources.columns import Wanted
from jobs.sources.formats import format_of
from jobs.sources.reading import prefetched, read_columns
from model_store.objects.s3_settings import S3Settings

found = format_of(sys.argv[1])
wanted = [Wanted(name) for name in "abcd"]
try:
    for _ in prefetched(read_columns(found.fragments(sys.argv[1], 1, S3Settings()), wanted, S3Settings(), 1000)):
        pass
except DataError as error:
    print(error)
    sys.exit(2)
"""


def test_a_process_that_refuses_a_file_ends_as_it_should(tmp_path: Path) -> None:
    rows = ["1,2,3,4\n"] * 1_000_000
    rows[300_000] = "1,x,3,4\n"
    (tmp_path / "t.csv").write_text("a,b,c,d\n" + "".join(rows))
    command = [sys.executable, "-c", REFUSE, str(tmp_path / "t.csv")]
    for _ in range(20):
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stderr) == (2, "")
        assert "t.csv:300002: column 'b': 'x' is not a number" in ended.stdout


def test_format_of_a_sheet_ignores_the_options_of_text(tmp_path: Path) -> None:
    options = ReadOptions(delimiter=";", encoding="cp1252", compression="gzip", na_values=("x",))
    found: Any = format_of("t.xlsx", options=options)
    assert (found.options.delimiter, found.options.encoding, found.options.compression) == (None, None, "none")
    assert found.options.na_values == ("x",)
