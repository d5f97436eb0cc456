"""The rows that are predicted, read as training reads its sources, in batches of bounded size with all their columns.

Shapes: n rows.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from handler.rows.model_card import Feature
from handler.wording import listed
from jobs.errors import DataError, SourceError, UsageError
from jobs.prediction.values import Batch
from jobs.sources.columns import Format, Fragment, Wanted
from jobs.sources.formats import format_of
from jobs.sources.fragments import MAGIC, find_fragments
from jobs.sources.parquet import Parquet
from jobs.sources.partitions import Partitioned
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.s3_settings import S3Settings

STANDARD = "-"
STANDARD_INPUT = "standard input"
BATCH_ROWS = 1 << 16
MEANT: Mapping[str, Literal["number", "datetime", "text"]] = {
    "numeric": "number",
    "datetime": "datetime",
    "categorical": "text",
}


@dataclass(frozen=True)
class Reading:
    """How the input is read: its format (`auto`: by its name), the options, and whether columns may be missing."""

    format: str
    options: ReadOptions
    may_lack: bool = False


@dataclass(frozen=True)
class Input:
    """Files of rows with the same columns; `lacked` gets the features that were asked for, and are none of them.

    `path` is the first file, of this format, and `location` its name in messages.
    """

    fragments: Sequence[Fragment]
    path: str
    location: str
    format: Format
    names: tuple[str, ...]
    reading: Reading
    lacked: set[str] = field(default_factory=set)

    @property
    def of_file(self) -> Format:
        """The format without the columns that folders name."""
        return self.format.inner if isinstance(self.format, Partitioned) else self.format

    def schema(self) -> pa.Schema:
        """Return the types of the columns: those of a parquet file, else text. Raises DataError for a name twice."""
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{self.location}: column {twice!r} is there twice: rename one, or set --names")
        found = self.of_file.schema(self.path, S3Settings()) if isinstance(self.of_file, Parquet) else pa.schema([])
        return pa.schema([found.field(name) if name in found.names else (name, pa.string()) for name in self.names])

    def batches(self, features: Mapping[str, Feature], columns: Collection[str]) -> Iterator[Batch]:
        """Yield the rows in batches, with these columns. Raises DataError and SourceError, see `read_columns`."""
        meant = {name: MEANT[feature.kind] for name, feature in features.items()}
        wanted = [Wanted(name, "raw", meant.get(name, "text")) for name in dict.fromkeys(self.names) if name in columns]
        for read in read_columns(self.fragments, wanted, S3Settings(), BATCH_ROWS):
            yield Batch(read, self)


@contextmanager
def opened(source: str, reading: Reading) -> Iterator[Input]:
    """Yield the rows of a source: what a dataset's `source` may name, or `-` for standard input.

    Raises DataError, with the file and the reason; UsageError if standard input has no format.
    """
    if source != STANDARD:
        if not MAGIC.search(source) and "://" not in source and not Path(source).exists():
            raise DataError(f"{source}: no such file: check --input")
        yield _input(source, reading)
        return
    if reading.format == "auto":
        raise UsageError("--input - is standard input, which has no name: set --format")
    try:
        temporary = tempfile.TemporaryDirectory(prefix="gridline-predict-")
    except OSError as exc:
        raise UsageError("no temporary folder can be written: set TMPDIR, or --input to a file") from exc
    with temporary as folder:
        path = Path(folder) / f"rows.{reading.format}"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield replace(_input(str(path), reading), location=STANDARD_INPUT)
        except (DataError, SourceError) as exc:
            raise type(exc)(str(exc).replace(str(path), STANDARD_INPUT)) from exc


def _input(source: str, reading: Reading) -> Input:
    s3 = S3Settings()
    found = find_fragments([source], file_format=reading.format, options=reading.options, folder=Path(), s3=s3)
    dot = "" if source.startswith("./") else "./"  # of the folder, beside which relative files are looked for
    fragments = [replace(each, location=each.location.removeprefix(dot)) for each in found]
    files = {each.location: each.format for each in fragments} or {
        source: format_of(source, reading.format, reading.options)  # a parquet file without a row group
    }
    names = {location: of.column_names(location, s3) for location, of in files.items()}
    first = next(iter(files))
    for location, own in names.items():
        if set(own) != set(names[first]):
            raise DataError(
                f"{location} has columns {listed(own)}, and {first} has {listed(names[first])}: predict one by one"
            )
    return Input(fragments, first, first, files[first], names[first], reading)
