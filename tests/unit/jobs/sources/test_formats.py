"""The formats stand in one table, by the endings of file names."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.columns import Wanted
from jobs.sources.delimited import Delimited
from jobs.sources.formats import FORMATS, format_of
from jobs.sources.parquet import Parquet
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.s3_settings import S3Settings


def test_formats_that_a_configuration_may_name_are_those_of_the_table() -> None:
    named = set(get_args(DatasetConfig.model_fields["format"].annotation)) - {"auto"}
    assert {FORMATS[f".{name}"] for name in named} == set(FORMATS.values())


@pytest.mark.parametrize(
    ("location", "name", "delimiter", "expected"),
    [
        ("a/t.CSV", "auto", None, Delimited(",")),
        ("s3://b/t.tab", "auto", None, Delimited("\t")),
        ("t.csv", "auto", ";", Delimited(",", ReadOptions(delimiter=";"))),
        ("t.pq", "auto", ";", Parquet(ReadOptions(delimiter=";"))),
        ("t.csv", "parquet", None, Parquet()),
        ("s3://b/t.tsv.gz", "auto", None, Delimited("\t")),
        ("t.CSV.XZ", "auto", None, Delimited(",")),
        ("part-0", "tsv", None, Delimited("\t")),
    ],
)
def test_format_of_is_told_by_its_name_or_the_file(
    location: str, name: str, delimiter: str | None, expected: object
) -> None:
    assert format_of(location, name, ReadOptions(delimiter=delimiter)) == expected


def test_format_of_a_file_without_an_ending_is_refused() -> None:
    with pytest.raises(DataError, match=r"a/part-0: the name does not tell the format: set 'format', or end it in one"):
        format_of("a/part-0")


@pytest.mark.parametrize("batch_rows", [None, 2])
def test_raw_columns_are_as_the_file_has_them(tmp_path: Path, batch_rows: int | None) -> None:
    (tmp_path / "t.csv").write_text('a,b\n001,"x,y"\n NA ,\n1.50,z\n')
    pq.write_table(pa.table({"a": [1, 2, 3], "b": [True, None, False]}), tmp_path / "t.parquet")
    for name, a, b in (
        ("t.csv", ["001", " NA ", "1.50"], ["x,y", "", "z"]),
        ("t.parquet", [1, 2, 3], [True, None, False]),
    ):
        location = str(tmp_path / name)
        fragments = format_of(location).fragments(location, 1, S3Settings())
        parts = list(read_columns(fragments, [Wanted("a", "raw"), Wanted("b", "raw")], S3Settings(), batch_rows))
        assert [cell for part in parts for cell in part.raws["a"].to_pylist()] == a
        assert [cell for part in parts for cell in part.raws["b"].to_pylist()] == b
        last = parts[-1]
        assert last.fragment.format.cell(last, last.num_rows - 1, "a", S3Settings())[1] == repr(a[-1])
