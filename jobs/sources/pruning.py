"""Row groups that can't hold what is looked for, by the lowest and highest value that parquet notes of each column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

from jobs.sources.columns import Fragment
from jobs.sources.parquet import column_ranges
from model_store.objects.s3_settings import S3Settings


def prune(fragments: Sequence[Fragment], column: str, values: Collection[str], s3: S3Settings) -> tuple[Fragment, ...]:
    """Return the fragments that may hold a row whose `column` (text, or whole numbers) is one of `values`.

    A fragment of which nothing is noted, a delimited file say, may hold anything.
    """
    kept: list[Fragment] = []
    for location, group in groupby(fragments, key=lambda fragment: fragment.location):
        of_file = list(group)
        if of_file[0].delimiter is not None:
            kept.extend(of_file)
            continue
        ranges = column_ranges(location, column, s3)
        kept.extend(fragment for fragment in of_file if _may_hold(ranges[fragment.row_group], values))
    return tuple(kept)


def _may_hold(bounds: tuple[Any, Any] | None, values: Collection[str]) -> bool:
    if bounds is None:
        return True
    low, high = bounds
    if isinstance(low, str):
        return any(low <= value <= high for value in values)
    return any(low <= int(value) <= high for value in values if _is_whole(value))


def _is_whole(value: str) -> bool:
    return value.removeprefix("-").isdecimal() and value.isascii()
