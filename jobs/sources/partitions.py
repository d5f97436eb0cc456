"""Columns that the names of folders hold, as Hive writes them: `year=2024/region=north/part-0.parquet`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from handler.rows.cells import level_of, number_of
from handler.rows.datetimes import days_of
from jobs.errors import DataError
from jobs.sources.cells import shown
from jobs.sources.columns import Array, Columns, Format, Fragment, Text, Wanted
from model_store.objects.s3_settings import S3Settings

FOLDER = re.compile(r"([^/=]+)=([^/]*)/")
NULL = "__HIVE_DEFAULT_PARTITION__"


def with_partitions(found: Format, location: str) -> Format:
    """Return the format of a file, with the columns that the names of its folders hold."""
    pairs = [(unquote(key), unquote(value)) for key, value in FOLDER.findall(location)]
    return Partitioned(found, tuple(pairs)) if pairs else found


@dataclass(frozen=True)
class Partitioned:
    """The format of a file in folders that name a column and its value; a column of the file itself comes first."""

    inner: Format
    pairs: tuple[tuple[str, str], ...]

    @property
    def rereads_for_cell(self) -> bool:
        return self.inner.rereads_for_cell

    @cached_property
    def values(self) -> dict[str, str | None]:
        return {key: None if value == NULL else value for key, value in self.pairs}

    def fragments(self, location: str, size_bytes: int, s3: S3Settings) -> list[Fragment]:
        return [replace(fragment, format=self) for fragment in self.inner.fragments(location, size_bytes, s3)]

    def column_names(self, location: str, s3: S3Settings) -> tuple[str, ...]:
        names = self.inner.column_names(location, s3)
        return (*names, *(name for name in self.values if name not in names))

    def read(
        self, fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None
    ) -> Iterator[Columns]:
        named = [column for column in wanted if column.name in self.values]
        names = self.inner.column_names(fragments[0].location, s3) if named else ()
        of_folders = [column for column in named if column.name not in names]
        of_file = [column for column in wanted if column not in of_folders]
        own = [replace(fragment, format=self.inner) for fragment in fragments]
        for columns in self.inner.read(own, of_file, s3, batch_rows):
            fragment = replace(columns.fragment, format=replace(self, inner=columns.fragment.format))
            yield self._with(replace(columns, fragment=fragment), of_folders)

    def cell(self, columns: Columns, row: int, name: str, s3: S3Settings) -> tuple[str, str]:
        location = columns.fragment.location
        if name in self.values and name not in self.inner.column_names(location, s3):
            return location, shown(self.values[name] or "")
        own = replace(columns.fragment, format=self.inner)
        return self.inner.cell(replace(columns, fragment=own), row, name, s3)

    def _with(self, columns: Columns, of_folders: Sequence[Wanted]) -> Columns:
        """Return the rows with the columns of the folders."""
        numbers, texts, raws = dict(columns.numbers), dict(columns.texts), dict(columns.raws)
        for column in of_folders:
            value = self.values[column.name]
            if column.kind == "text":
                levels = [] if value is None or not level_of(value) else [level_of(value)]
                code = np.full(columns.num_rows, len(levels) - 1, np.int32)
                texts[column.name] = Text(code, np.array(levels, dtype=object))
            elif column.kind == "raw":
                raws[column.name] = pa.array([value] * columns.num_rows, pa.string())
            else:
                numbers[column.name] = self._numbers(columns, column, value or "")
        return replace(columns, numbers=numbers, texts=texts, raws=raws)

    def _numbers(self, columns: Columns, column: Wanted, value: str) -> Array:
        try:
            number = number_of(value) if column.kind == "number" else days_of(value)
        except ValueError as exc:
            what = "a number: set 'kind: categorical'" if column.kind == "number" else "a date: name the folder so"
            place = f"{columns.fragment.location}: the folder"
            raise DataError(f"{place} has {column.name!r} = {value!r}, which is not {what}") from exc
        return np.full(columns.num_rows, number)
