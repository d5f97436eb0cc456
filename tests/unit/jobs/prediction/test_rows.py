"""The rows that are predicted are read as training reads its rows: by the same seam, with the same types."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import DataError
from jobs.prediction.rows import instances_of, open_rows

FEATURES = {"area": "numeric", "site": "categorical"}
CSV = "area,note,site,dataset\n3,x,01,007\n,y,b,007\n4.5,z,,n\n"
ROWS = [
    {"area": 3.0, "site": "01", "dataset": "007"},
    {"area": None, "site": "b", "dataset": "007"},
    {"area": 4.5, "site": None, "dataset": "n"},
]


def instances(path: Path, **features: str) -> list[object]:
    parts = open_rows(path).read(features or FEATURES, with_dataset=not features)
    return [instance for request in instances_of(parts) for instance in request]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".TAB", ".parquet", ".pq"])
def test_rows_are_the_same_in_every_format(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{ending}"
    if ending in (".parquet", ".pq"):
        columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
        pq.write_table(pa.table(columns | {"note": ["x", "y", "z"]}), path, row_group_size=2)
    else:
        path.write_text(CSV if ending == ".csv" else CSV.replace(",", "\t"))
    assert instances(path) == ROWS
    assert open_rows(path).datasets() == ["007", "n"]


def test_rows_are_asked_about_a_thousand_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("area\n" + "1\n" * 2500)
    parts = open_rows(path).read({"area": "numeric"}, with_dataset=False)
    assert [len(request) for request in instances_of(parts)] == [1000, 1000, 500]


@pytest.mark.parametrize("mark", ["", "NA", "NaN", "null", " "])
def test_rows_hold_none_for_what_training_takes_for_missing(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"area,x\n{mark},1\n2,2\n")
    assert instances(path, area="numeric") == [{"area": None}, {"area": 2.0}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", "area,site\n1,a\nx,b\n", "rows.csv:3: column 'area': 'x' is not a number"),
        ("rows.csv", "area,site\n1,a,b\n", "rows.csv:2: the row has 3 cells, and the header 2"),
        ("rows.csv", "area,site\n", "rows.csv: the file has no rows: add rows"),
        ("rows.csv", "depth\n1\n", "rows.csv has columns ['depth'], and the features are ['area', 'site']"),
        ("rows.parquet", "area\n1\n", "rows.parquet: the file is not parquet, or is damaged"),
        ("rows.txt", "area\n1\n", "rows.txt: the name does not tell the format"),
    ],
)
def test_rows_that_training_would_refuse_are_refused_in_its_words(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        open_rows(tmp_path / name).read(FEATURES, with_dataset=False)
    assert message in str(caught.value)


def test_rows_of_no_dataset_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("dataset,area\nn,1\n,2\n")
    with pytest.raises(DataError, match=r"rows\.csv:3: column 'dataset' is empty: name the dataset of every row"):
        open_rows(tmp_path / "rows.csv").datasets()


def test_rows_of_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file: check --input"):
        open_rows(tmp_path / "rows.csv")
