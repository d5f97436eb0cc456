"""Files at their worst are read as pandas reads them with the same options, or refused: never other rows."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings

from handler.rows.cells import MISSING
from jobs.errors import DataError
from jobs.sources.columns import Wanted
from jobs.sources.fragments import find_fragments
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.s3_settings import S3Settings
from tests.samples.hostile import NUMBER_COLUMNS, TEXT_COLUMNS, Columns, HostileFile, hostile_files, same

S3 = S3Settings()
WANTED = (*map(Wanted, NUMBER_COLUMNS), *(Wanted(name, "text") for name in TEXT_COLUMNS))
READ_AT_LEAST = 0.4


def by_gridline(folder: Path, file: HostileFile) -> Columns:
    path = folder / f"data{file.suffix}"
    path.write_bytes(file.content)
    options = ReadOptions(**file.options, header=None if "names" in file.options else 0)  # as configurations have it
    fragments = find_fragments([str(path)], file_format="auto", options=options, folder=folder, s3=S3)
    chunks = list(read_columns(fragments, WANTED, S3))
    numbers = {name: np.concatenate([chunk.numbers[name] for chunk in chunks]).tolist() for name in NUMBER_COLUMNS}
    return numbers | {name: [text for chunk in chunks for text in chunk.texts[name].cells()] for name in TEXT_COLUMNS}


def by_pandas(file: HostileFile) -> Columns:
    """Return the columns as pandas reads them: numbers where it finds them, else cell by cell; text without blanks."""
    typed, raw = _frame(file, [*MISSING, *file.options.get("na_values", ())]), _frame(file, [""], dtype=str)
    columns: Columns = {}
    for name in NUMBER_COLUMNS:
        if pd.api.types.is_numeric_dtype(typed[name]):
            columns[name] = typed[name].astype(float).tolist()
        else:
            columns[name] = [_number(cell, file.options) for cell in raw[name]]
    marks = file.options.get("na_values", ())
    return columns | {name: [_text(cell, marks) for cell in raw[name]] for name in TEXT_COLUMNS}


def _frame(file: HostileFile, marks: Sequence[str], **keys: Any) -> pd.DataFrame:
    options = {key: value for key, value in file.options.items() if key not in ("na_values", "delimiter")}
    return pd.read_csv(
        io.BytesIO(file.content),
        sep=file.delimiter,
        na_values=list(marks),
        keep_default_na=False,
        index_col=False,
        compression={".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}.get(Path(file.suffix).suffix),
        engine="python" if "skipfooter" in options else "c",
        **{"encoding": "utf-16" if b"\xff\xfe" in _plain(file)[:2] else "utf-8-sig"} | options | keys,
    )


def _plain(file: HostileFile) -> bytes:
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
    return unpack.get(Path(file.suffix).suffix, bytes)(file.content)


def _number(cell: Any, options: Mapping[str, Any]) -> float:
    text = "" if pd.isna(cell) else str(cell).strip()
    if text in MISSING or text in options.get("na_values", ()):
        return float("nan")
    text = {"true": "1", "yes": "1", "false": "0", "no": "0"}.get(text.lower(), text)
    text = text.replace("_", "?").replace(options.get("thousands", ""), "") if "thousands" in options else text
    return float(text.replace("_", "?").replace(options.get("decimal", "."), "."))


def _text(cell: Any, marks: Collection[str]) -> str | None:
    text = "" if pd.isna(cell) else str(cell).strip()
    return None if text in ("", *marks) else text


def test_hostile_csv_files_are_read_as_pandas_reads_them_or_refused(tmp_path: Path) -> None:
    outcomes: list[str] = []

    @settings(max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(file=hostile_files())
    def check(file: HostileFile) -> None:
        try:
            found = by_gridline(tmp_path, file)
        except DataError:
            outcomes.append("refused")
            return
        assert same(found, by_pandas(file)), found
        outcomes.append("read")

    check()
    assert outcomes.count("read") > READ_AT_LEAST * len(outcomes)
