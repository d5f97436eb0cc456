"""Read the columns of fragments of any format: a fragment at once, or in chunks of bounded size, read ahead.

Memory: with `batch_rows`, a chunk of so many rows or `blocks.BLOCK_BYTES` of text, and those that `prefetched` reads
ahead; the size of a file or of a row group has no effect.

While S3 does not answer, a file is read again as long as `S3Settings.retry` says, from where it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TypeVar, cast

from jobs.errors import DataError, MissingColumnError
from jobs.sources.columns import Columns, Fragment, Wanted
from jobs.sources.filesystems import S3_PREFIX, AwayError, pause_or_raise, retry_of, stamps_of
from model_store.objects.s3_settings import S3Settings

Item = TypeVar("Item")

CHUNKS_AHEAD = 2
END = object()


def read_columns(
    fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None = None
) -> Iterator[Columns]:
    """Yield the rows of each fragment, in the order given: whole, or in chunks of at most `batch_rows` rows.

    Raises DataError, with file, row, column and value, for a cell of another kind, and SourceError.
    """
    for location, group in groupby(fragments, key=lambda fragment: fragment.location):
        of_file = list(group)
        try:
            for columns in _resumed(of_file, wanted, s3, batch_rows):
                step = batch_rows or max(columns.num_rows, 1)
                yield from (columns.take(slice(at, at + step)) for at in range(0, columns.num_rows, step))
        except MissingColumnError as exc:
            if location == fragments[0].location:
                raise
            raise MissingColumnError(f"{exc} ({fragments[0].location} has it)") from exc


def _resumed(
    of_file: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None
) -> Iterator[Columns]:
    """Yield the rows of some fragments of a file; after an outage, those that follow the ones that were yielded.

    Raises DataError if the file was written again meanwhile.
    """
    location, retry, done = of_file[0].location, retry_of(s3), 0
    stamps: list[tuple[str, int, int]] = []
    while True:
        rest, skip = _after(of_file, done)
        try:
            if done and stamps and stamps != stamps_of([location], s3):
                raise DataError(f"{location}: the file changed while it was read: start again")
            for columns in of_file[0].format.read(rest, wanted, s3, batch_rows) if rest else ():
                if columns.num_rows > skip:
                    yield columns.take(slice(skip, None)) if skip else columns
                    done += columns.num_rows - skip
                    retry.succeeded()
                    if not stamps and location.startswith(S3_PREFIX) and _after(of_file, done)[0]:
                        stamps = stamps_of([location], s3)
                skip = max(skip - columns.num_rows, 0)
            return
        except AwayError as exc:
            pause_or_raise(exc, retry)


def _after(fragments: Sequence[Fragment], num_rows: int) -> tuple[Sequence[Fragment], int]:
    """Return the fragments that are not in the first `num_rows` rows, and how many rows of the first one are."""
    at = 0
    while at < len(fragments) and (rows := fragments[at].num_rows) is not None and rows <= num_rows:
        at, num_rows = at + 1, num_rows - rows
    return fragments[at:], num_rows


def prefetched(items: Iterable[Item], ahead: int = CHUNKS_AHEAD) -> Iterator[Item]:
    """Yield the items; a thread computes up to `ahead` more of them meanwhile.

    Errors of the items are raised here. When the iterator is exhausted or closed, the thread ends after the item that
    it has begun; the end of the process waits for it.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="gridline-prefetch")
    try:
        ready = deque(pool.submit(next, source, END) for _ in range(ahead + 1))
        while (item := ready.popleft().result()) is not END:
            yield cast(Item, item)
            ready.append(pool.submit(next, source, END))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # as in `blocks.converted_ahead`
