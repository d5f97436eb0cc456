"""A fragment's columns, whatever its format: at once, or in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from model_store.s3_settings import S3Settings

from . import delimited, parquet
from .columns import Columns, Fragment, Wanted


def read_columns(fragment: Fragment, wanted: Sequence[Wanted], s3: S3Settings) -> Columns:
    """Return all rows of a fragment. Raises DataError, with file, row, column and value, and SourceError."""
    if fragment.delimiter is None:
        return next(parquet.read_row_group(fragment, wanted, s3))
    (columns,) = list(delimited.read_file(fragment, wanted, s3))
    return columns
