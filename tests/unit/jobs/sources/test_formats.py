"""The formats stand in one table, by the endings of file names."""

from __future__ import annotations

from typing import get_args

import pytest

from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.delimited import Delimited
from jobs.sources.formats import FORMATS, format_of
from jobs.sources.parquet import Parquet
from jobs.sources.read_options import ReadOptions


def test_formats_that_a_configuration_may_name_are_those_of_the_table() -> None:
    named = set(get_args(DatasetConfig.model_fields["format"].annotation)) - {"auto"}
    assert {FORMATS[f".{name}"] for name in named} == set(FORMATS.values())


@pytest.mark.parametrize(
    ("location", "name", "delimiter", "expected"),
    [
        ("a/t.CSV", "auto", None, Delimited(",")),
        ("s3://b/t.tab", "auto", None, Delimited("\t")),
        ("t.csv", "auto", ";", Delimited(";")),
        ("t.pq", "auto", ";", Parquet()),
        ("t.csv", "parquet", None, Parquet()),
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
