"""Parquet files of any type are read as pandas reads them, or refused: never other rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import DataError
from jobs.sources.columns import Wanted
from jobs.sources.fragments import find_fragments
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.s3_settings import S3Settings
from tests.samples.hostile import Columns, same

READ_AT_LEAST = 0.5

WHOLE = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
FRACTIONS = (pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 3), pa.decimal256(50, 3))
TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
TEXTS = (*TEXTS, pa.dictionary(pa.int32(), pa.large_string()), pa.binary())
TEXT_NAMES = {"string", "large_string", "string_view"}
DAYS = (pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("us", "Europe/Berlin"), pa.timestamp("ns"))
TRUTHS = (pa.bool_(), pa.dictionary(pa.int8(), pa.int64()))
OTHERS = (pa.null(), pa.time32("s"), pa.duration("s"), pa.list_(pa.int8()), pa.struct({"x": pa.int8()}))
TYPES = (*WHOLE, *FRACTIONS, *TEXTS, *DAYS, *TRUTHS, *OTHERS)


@st.composite
def hostile_tables(draw: st.DrawFn) -> tuple[pa.Table, int]:
    """Return a table with the columns a (meant as numbers), s (meant as text) and others, and a row group's rows."""
    num_rows = draw(st.integers(1, 9))
    number = draw(st.sampled_from(TYPES if draw(st.integers(0, 3)) == 0 else (*WHOLE, *FRACTIONS, *TRUTHS)))
    text = draw(st.sampled_from(TYPES if draw(st.integers(0, 3)) == 0 else (*TEXTS, *WHOLE, *TRUTHS)))
    types = {"a": number, "s": text, "u": draw(st.sampled_from(TYPES))}
    some_missing = draw(st.booleans())
    arrays = [pa.array([_value(draw, kind, some_missing) for _ in range(num_rows)], kind) for kind in types.values()]
    names = [*types]
    if draw(st.integers(0, 9)) == 0:
        names[2] = draw(st.sampled_from(["a", "s", "", "A"]))
    return pa.table(arrays, names=names), draw(st.integers(1, num_rows))


def _value(draw: st.DrawFn, kind: pa.DataType, some_missing: bool) -> Any:
    """Return a value of a type, or None; whole numbers are common among fractions, as pandas stores them."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(kind) or (some_missing and draw(st.integers(0, 3)) == 0):
        return None
    number = draw(st.integers(0, 100))
    if pa.types.is_floating(kind):
        return draw(st.sampled_from([float(number), float(number), number + 0.5, float("nan"), float("inf")]))
    if pa.types.is_decimal(kind):
        return Decimal(number) + Decimal(draw(st.sampled_from(["0", "0.125"])))
    if str(kind) in TEXT_NAMES:
        return draw(st.sampled_from(["red", "blue", "001", " n", "1.10", "über"]))
    return _plain_value(kind, number)


def _plain_value(kind: pa.DataType, number: int) -> Any:
    """Return a value of a type that is neither a fraction nor text."""
    if pa.types.is_date(kind):
        return dt.date(2024, 1, 1) + dt.timedelta(number)
    if pa.types.is_timestamp(kind):
        return dt.datetime(2024, 1, 1, tzinfo=dt.UTC if kind.tz else None) + dt.timedelta(number / 2)
    values: dict[str, Any] = {
        "bool": number % 2 == 0,
        "time32[s]": dt.time(number % 24),
        "duration[s]": dt.timedelta(number),
        "binary": b"\xffabc",
        str(OTHERS[-2]): [number],
        str(OTHERS[-1]): {"x": number},
    }
    return values.get(str(kind), number)


def by_gridline(path: Path) -> Columns:
    wanted = (Wanted("a"), Wanted("s", "text"))
    fragments = find_fragments(
        [str(path)], file_format="auto", options=ReadOptions(), folder=path.parent, s3=S3Settings()
    )
    chunks = list(read_columns(fragments, wanted, S3Settings()))
    return {
        "a": np.concatenate([chunk.numbers["a"].astype(np.float64) for chunk in chunks]).tolist(),
        "s": [text for chunk in chunks for text in chunk.texts["s"].cells()],
    }


def by_pandas(path: Path) -> Columns:
    frame = pd.read_parquet(path)
    return {"a": [_number(cell) for cell in frame["a"]], "s": [_text(cell) for cell in frame["s"]]}


def _number(cell: Any) -> float:
    return float("nan") if pd.isna(cell) else float(cell)


def _text(cell: Any) -> str | None:
    """Return a cell as a level: whole numbers without a point, dates as ISO 8601 writes them."""
    if pd.isna(cell):
        return None
    if isinstance(cell, bool | np.bool_):
        return str(cell).lower()
    if isinstance(cell, float | Decimal) and cell == int(cell):
        return str(int(cell))
    if isinstance(cell, pd.Timestamp):
        zone = "" if cell.tzinfo is None else "Z"
        text = cell.tz_convert(None).isoformat() if zone else cell.isoformat()
        return text + zone if zone else text.removesuffix("T00:00:00")
    return str(cell).strip()


def test_hostile_parquet_files_are_read_as_pandas_reads_them_or_refused(tmp_path: Path) -> None:
    outcomes: list[str] = []

    @settings(max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(made=hostile_tables())
    def check(made: tuple[pa.Table, int]) -> None:
        table, row_group_size = made
        path = tmp_path / "data.parquet"
        pq.write_table(table, path, row_group_size=row_group_size)
        try:
            found = by_gridline(path)
        except DataError:
            outcomes.append("refused")
            return
        assert same(found, by_pandas(path)), found
        outcomes.append("read")

    check()
    assert outcomes.count("read") > READ_AT_LEAST * len(outcomes)
