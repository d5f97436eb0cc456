"""The formats of sources, by the endings of file names: a new format is a class and a line here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from jobs.errors import DataError
from jobs.sources.columns import Format
from jobs.sources.delimited import Delimited
from jobs.sources.parquet import Parquet
from jobs.sources.partitions import with_partitions
from jobs.sources.read_options import DEFAULTS, ReadOptions
from jobs.sources.sheets import open_sheet
from jobs.sources.text_stream import COMPRESSIONS

FORMATS: dict[str, Format] = {
    ".csv": Delimited(","),
    ".tsv": Delimited("\t"),
    ".tab": Delimited("\t"),
    ".xlsx": Delimited(",", opened=open_sheet),
    ".parquet": Parquet(),
    ".pq": Parquet(),
}


def format_of(location: str, name: str = "auto", options: ReadOptions = DEFAULTS) -> Format:
    """Return the format of this name (an ending without its point), or for `auto` that of the file's ending.

    It reads with these options, and has the columns that folders name. Raises DataError if no format has the ending.
    """
    ending = _ending(location) if name == "auto" else f".{name}"
    if ending not in FORMATS:
        endings = " ".join(FORMATS)
        raise DataError(f"{location}: the name does not tell the format: set 'format', or end it in one of {endings}")
    return with_partitions(_with_options(FORMATS[ending], options), location)


def _with_options(found: Format, options: ReadOptions) -> Format:
    if isinstance(found, Delimited):
        of_sheet = replace(options, delimiter=None, encoding=None, quotechar='"', compression="none")
        return replace(found, options=of_sheet if found.opened is open_sheet else options)
    return replace(found, options=options) if isinstance(found, Parquet) else found


def _ending(location: str) -> str:
    """Return the ending of a name that tells the format: `.csv` of `data.csv.gz`."""
    path = PurePosixPath(location.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
