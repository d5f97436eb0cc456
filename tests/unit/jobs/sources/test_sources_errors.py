"""Every kind of bad data gives one line: dataset, file, line or row, column, value, remedy."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.columns import Fragment, Wanted
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.filesystems import open_filesystem
from jobs.sources.formats import format_of
from jobs.sources.job_datasets import resolve_source
from jobs.sources.reading import read_columns
from jobs.sources.resolved import require_same_files
from model_store.objects.s3_settings import S3Settings


def read(folder: Path, source: Any, **keys: Any) -> Dataset:
    config = {"name": "houses", "source": source, "target": "price", "features": ["area", "rooms"], **keys}
    return read_dataset(resolve_source(DatasetConfig.model_validate(config), folder, S3Settings()), bias=True)


def refusal(folder: Path, source: Any, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, source, **keys)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    assert message.startswith("dataset 'houses': ")
    return message.removeprefix("dataset 'houses': ").replace(f"{folder}/", "")


GOOD = b"area,rooms,price\n50,2,100\n60,3,130\n80,3,150\n120,5,260\n"

CSV = {
    "word": (b"80,3,150", b"80,three,150", "t.csv:4: column 'rooms': 'three' is not a number: correct it, or set 'na_"),
    "first of several": (b"60,3,130\n80", b"60,3,x\ny", "t.csv:3: column 'price': 'x' is not a number"),
    "empty cell": (b"80,3,150", b"80,,150", "t.csv:4: column 'rooms': '' is missing: fill it, or set 'missing: mean'"),
    "blank cell": (b"80,3,150", b"80,  ,150", "t.csv:4: column 'rooms': '  ' is missing"),
    "not a number": (b"80,3,150", b"80,NaN,150", "t.csv:4: column 'rooms': 'NaN' is missing"),
    "not available": (b"80,3,150", b"80,NA,150", "t.csv:4: column 'rooms': 'NA' is missing"),
    "missing target": (
        b"80,3,150",
        b"80,3,",
        "t.csv:4: column 'price': '' is missing: fill it, or set 'missing_target: drop' to leave out the row",
    ),
    "infinite": (b"80,3,150", b"80,3,-inf", "t.csv:4: column 'price': '-inf' is infinite: write a finite number"),
    "too great": (b"80,3,150", b"80,3,1e999", "t.csv:4: column 'price': '1e999' is infinite"),
    "thousands": (
        b"80,3,150",
        b'80,3,"1,500"',
        "t.csv:4: column 'price': '1,500' is not a number: set 'decimal: ",
    ),
    "underscore": (b"80,3,150", b"80,3,1_500", "t.csv:4: column 'price': '1_500' is not a number"),
    "hexadecimal": (b"80,3,150", b"80,3,0x10", "t.csv:4: column 'price': '0x10' is not a number"),
    "foreign digits": (b"80,3,150", "80,3,١".encode(), "t.csv:4: column 'price': '١' is not a number"),
    "currency": (b"80,3,150", b"80,3,$150", "t.csv:4: column 'price': '$150' is not a number"),
    "short row": (b"80,3,150", b"80,3", "t.csv:4: the row has 2 cells, and the header 3: correct it"),
    "long row": (b"80,3,150", b"80,3,150,9", "t.csv:4: the row has 4 cells, and the header 3"),
    "open quote": (b"80,3,150", b'80,3,"150', "t.csv:4: "),
    "line after a quoted line end": (
        GOOD,
        b'area,rooms,price,note\n50,2,100,"a\nb"\n\n60,x,130,c\n',
        "t.csv:5: column 'rooms': 'x' is not a number",
    ),
    "line after CRLF": (
        GOOD,
        GOOD.replace(b"\n", b"\r\n").replace(b"80,", b"x,"),
        "t.csv:4: column 'area': 'x' is not",
    ),
    "missing column": (
        b"rooms,",
        b"room,",
        "t.csv:1: column 'rooms' is missing; found 'area', 'room', 'price': did yo",
    ),
    "missing column like no other": (
        b"rooms,",
        b"x,",
        "t.csv:1: column 'rooms' is missing; found 'area', 'x', 'price'",
    ),
    "no header": (
        b"area,rooms,price\n",
        b"",
        "t.csv:1: the first line is numbers, '50', '2', '100': the file",
    ),
    "header twice": (b"rooms,", b"area,", "t.csv:1: column 'area' is there twice: rename one, or give"),
    "empty file": (GOOD, b"", "t.csv: the file is empty: write a header and rows"),
    "blank file": (GOOD, b"\n\n", "t.csv: the file is empty"),
    "header alone": (GOOD, b"area,rooms,price\n", "t.csv: the table is empty: it has columns and no rows: add rows"),
    "header alone, unended": (GOOD, b"area,rooms,price", "t.csv: the table is empty: it has columns and no rows"),
    "latin-1": (
        GOOD,
        GOOD + b"caf\xe9,1,1\n",
        "t.csv:6: column 'area': 'caf\\\\xe9' has a byte that is not UTF-8",
    ),
    "latin-1 header": (
        b"area",
        b"\xe9rea",
        "t.csv:1: the header has a byte that is not UTF-8: set 'enc",
    ),
    "UTF-16 without a mark": (
        GOOD,
        GOOD.decode().encode("utf-16-le"),
        "binary, not text: set 'encoding: utf-16-le'",
    ),
    "rubbish": (GOOD, bytes(range(1, 256)) * 9, "t.csv:1: column 'area' is missing"),
    "NUL": (b"80,3,150", b"80,\0,150", "t.csv: byte 38 is NUL: the file is binary, not text: check 'format'"),
    "zip": (GOOD, b"PK\x03\x04rest", "t.csv: the file is a zip or Excel file, not text: set 'format: xlsx'"),
    "too few rows": (
        GOOD,
        b"area,rooms,price\n50,2,100\n60,3,130\n",
        "2 rows train, and there are 3 weights: add rows",
    ),
    "constant target": (GOOD, b"area,rooms,price\n50,2,9\n60,3,9\n80,4,9\n", "the target 'price' is 9 in every row"),
    "long cell before": (
        GOOD,
        b'area,rooms,price,note\n50,2,100,"' + b"a" * 200_000 + b'"\n60,x,130,b\n',
        "t.csv:3: column 'rooms': 'x' is not a number",
    ),
    "constant columns": (
        GOOD,
        b"area,rooms,price\n50,2,1\n50,2,2\n50,2,3\n",
        "every feature has one value in the rows that train: there is nothing to learn; name other features",
    ),
}


@pytest.mark.parametrize("case", CSV)
def test_sources_bad_csv_is_one_line(case: str, tmp_path: Path) -> None:
    old, new, expected = CSV[case]
    assert old in GOOD
    (tmp_path / "t.csv").write_bytes(GOOD.replace(old, new, 1))
    assert expected in refusal(tmp_path, "t.csv")


def test_sources_bad_cell_far_into_a_file_is_found(tmp_path: Path) -> None:
    rows = [f"{row},{row % 7},{row * 2}" for row in range(300_000)]
    rows[287_654] = "oops,1,2"
    (tmp_path / "t.csv").write_text("\n".join(["area,rooms,price", *rows]))
    assert refusal(tmp_path, "t.csv").startswith("t.csv:287656: column 'area': 'oops' is not a number")


def test_sources_byte_that_is_not_utf8_far_into_a_file_is_found(tmp_path: Path) -> None:
    text = GOOD + b"80,3,150\n" * 1_000_000 + "1,2,ü".encode() + b"\xff"
    (tmp_path / "t.csv").write_bytes(text)
    assert "t.csv:1000006: column 'price': 'ü\\\\xff' has a byte that is not UTF-8" in refusal(tmp_path, "t.csv")


def parquet(folder: Path, **columns: Any) -> str:
    table = {"area": [50.0, 60.0, 80.0, 120.0], "rooms": [2, 3, 3, 5], "price": [1.0, 2.0, 3.0, 4.0], **columns}
    pq.write_table(
        pa.table({name: values for name, values in table.items() if values is not None}), folder / "t.parquet"
    )
    return "t.parquet"


PARQUET = {
    "null": ({"rooms": [2, None, 3, 5]}, "t.parquet: row 2: column 'rooms': nan is missing: fill it, or set 'missing"),
    "not a number": ({"rooms": [2.0, 3.0, float("nan"), 5.0]}, "t.parquet: row 3: column 'rooms': nan is missing"),
    "infinite": ({"price": [1.0, 2.0, 3.0, float("inf")]}, "t.parquet: row 4: column 'price': inf is infinite"),
    "text": ({"rooms": ["2", "3", "3", "5"]}, "t.parquet: column 'rooms' is of type string, which is not numbers: sto"),
    "time": ({"rooms": [datetime(2026, 1, day) for day in (1, 2, 3, 4)]}, "column 'rooms' is of type timestamp["),
    "bytes": ({"rooms": [b"2", b"3", b"3", b"5"]}, "column 'rooms' is of type binary, which is not numbers"),
    "list": ({"rooms": [[1], [2], [3], [4]]}, "t.parquet: column 'rooms' is of type list<"),
    "missing column": ({"rooms": None, "bathrooms": [1, 2, 3, 4]}, "column 'rooms' is missing; found 'area', 'price',"),
    "no rows": ({"area": [], "rooms": [], "price": []}, "t.parquet: the table is empty: it has columns and no rows"),
    "all null": ({"rooms": pa.nulls(4)}, "t.parquet: row 1: column 'rooms': nan is missing"),
}


@pytest.mark.parametrize("case", PARQUET)
def test_sources_bad_parquet_is_one_line(case: str, tmp_path: Path) -> None:
    columns, expected = PARQUET[case]
    assert expected in refusal(tmp_path, parquet(tmp_path, **columns))


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: GOOD, lambda data: data[:-4] + b"ABCD"],
)
def test_sources_damaged_parquet_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / parquet(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(tmp_path, "t.parquet").startswith("t.parquet: the file is not parquet, or is damaged: ")


def test_sources_damaged_pages_of_parquet_are_named(tmp_path: Path) -> None:
    path = tmp_path / parquet(tmp_path)
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    assert refusal(tmp_path, "t.parquet").startswith("t.parquet: ")


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (
            ["a", None, "b", "a"],
            "t.parquet: row 2: column 'rooms': None is missing: fill it, set 'missing: level' for a level of its own",
        ),
        (["a", "", "b", "a"], "t.parquet: row 2: column 'rooms': None is missing"),
        ([0.5, float("inf"), 2.5, 3.5], "t.parquet: rows 1 to 4: inf is no category: correct it"),
        ([b"a", b"b", b"c", b"a"], "t.parquet: column 'rooms' is of type binary, which is not text: store it as text"),
    ],
)
def test_sources_bad_categories_are_named(levels: list[Any], expected: str, tmp_path: Path) -> None:
    features = ["area", {"name": "rooms", "kind": "categorical"}]
    assert refusal(tmp_path, parquet(tmp_path, rooms=levels), features=features).startswith(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("none.csv", "none.csv: no such file, and no folder with files (looked in "),
        ("*.csv", "*.csv: no file matches the pattern"),
        ("empty", "empty: no such file, and no folder with files"),
        ("data.txt", "data.txt: the name does not tell the format: set 'format', or end it in one of .csv .tsv"),
        (["data.txt", "d*.txt"], "data.txt: 'source' names the file twice: name it once"),
    ],
)
def test_sources_missing_or_unknown_files_are_named(source: Any, expected: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "data.txt").write_bytes(GOOD)
    assert refusal(tmp_path, source).startswith(expected)


def test_sources_a_file_of_another_schema_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(GOOD)
    (tmp_path / "b.csv").write_bytes(GOOD.replace(b"rooms", b"bathrooms"))
    message = refusal(tmp_path, "*.csv")
    assert message.startswith("b.csv:1: column 'rooms' is missing; found 'area', 'bathrooms', 'price'")
    assert message.endswith("did you mean 'bathrooms'? (a.csv has it)")


def test_sources_values_outside_a_transform_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(GOOD.replace(b"80,3", b"0,3"))
    message = refusal(tmp_path, "t.csv", features=[{"name": "area", "transform": "log10"}, "rooms"])
    assert message.startswith("t.csv:4: column 'area': '0' is outside the domain of log10, which is > 0: correct it")


def test_sources_level_that_only_validates_is_named(tmp_path: Path) -> None:
    rows = [f"{row},{'AB'[row % 2]},{row * row % 7}" for row in range(40)]
    features = ["area", {"name": "rooms", "kind": "categorical"}]
    for rare in range(40):
        odd = [row.replace(",A,", ",C,").replace(",B,", ",C,") if at == rare else row for at, row in enumerate(rows)]
        (tmp_path / "t.csv").write_text("\n".join(["area,rooms,price", *odd]))
        validation = {"fraction": 0.2}
        try:
            read(tmp_path, "t.csv", features=features, validation=validation)
        except DataError as error:
            assert f"t.csv:{rare + 2}: feature 'rooms' has value 'C', which is a level that training" in str(error)
            assert str(error).endswith("The row validates: set 'unseen: reference', or another seed")
            features[1] = {"name": "rooms", "kind": "categorical", "unseen": "reference"}
            assert read(tmp_path, "t.csv", features=features, validation=validation).x_nd[rare, 1:].tolist() == [0.0]
            return
    pytest.fail("no row validates")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("s3://data//plain.csv", "the path has an empty component after 'data/': write s3://data/plain.csv"),
        ("s3://data/a//b//c.csv", "the path has an empty component after 'a/': write s3://data/a/b/c.csv"),
        ("s3://data//", "the path has an empty component after 'data/': write s3://data"),
        ("s3:///plain.csv", "the path names no bucket: write s3://BUCKET/PATH"),
        ("s3://", "the path names no bucket: write s3://BUCKET/PATH"),
    ],
)
def test_open_filesystem_refuses_an_empty_component(location: str, reason: str) -> None:
    with pytest.raises(DataError) as refused:
        open_filesystem(location, S3Settings())
    assert str(refused.value) == f"{location}: {reason}"


@pytest.mark.parametrize("location", ["t.csv", "sub/t.parquet"])
def test_file_that_a_node_lacks_is_named_with_the_node_and_its_folder(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fragment = Fragment(location, 10, format_of(location))
    with pytest.raises(DataError) as refused:
        list(read_columns([fragment], [Wanted("a")], S3Settings()))
    where = f"no such file on node '{socket.gethostname()}', in {tmp_path}: put it in a folder that all nodes share"
    assert str(refused.value) == f"{location}: {where}, or in a bucket"


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,2\n")
    found = Fragment(str(path), path.stat().st_size, format_of(str(path)))
    require_same_files([found], S3Settings())
    path.write_text("a,y\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"t\.csv: the file on node '.*' has another length than where the job began"):
        require_same_files([found], S3Settings())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("[z-a].csv", "[z-a].csv: the pattern can't be read: bad character range z-a: correct it; [[] stands for ["),
        ("[.csv", "[.csv: no file matches the pattern"),
        ("*[.csv", "*[.csv: no file matches the pattern"),
    ],
)
def test_pattern_that_is_none_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    assert refusal(tmp_path, source).startswith(reason)
