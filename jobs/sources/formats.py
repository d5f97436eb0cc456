"""The formats of sources, by the endings of file names: a new format is a class and a line here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from jobs.errors import DataError
from jobs.sources.columns import Format
from jobs.sources.delimited import Delimited
from jobs.sources.parquet import Parquet
from jobs.sources.read_options import DEFAULTS, ReadOptions

FORMATS: dict[str, Format] = {
    ".csv": Delimited(","),
    ".tsv": Delimited("\t"),
    ".tab": Delimited("\t"),
    ".parquet": Parquet(),
    ".pq": Parquet(),
}


def format_of(location: str, name: str = "auto", options: ReadOptions = DEFAULTS) -> Format:
    """Return the format of this name (an ending without its point), or for `auto` that of the file's ending.

    The format reads with these options. Raises DataError if no format has the ending.
    """
    ending = PurePosixPath(location).suffix.lower() if name == "auto" else f".{name}"
    if ending not in FORMATS:
        endings = " ".join(FORMATS)
        raise DataError(f"{location}: the name does not tell the format: set 'format', or end it in one of {endings}")
    found = FORMATS[ending]
    delimiter = options.delimiter
    return replace(found, delimiter=delimiter) if delimiter and isinstance(found, Delimited) else found
