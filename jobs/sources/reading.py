"""Read the columns of fragments of any format: a fragment at once, or in chunks of bounded size, read ahead.

Memory: with `batch_rows`, a chunk of so many rows or `blocks.BLOCK_BYTES` of text, and those that `prefetched` reads
ahead; the size of a file or of a row group has no effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TypeVar, cast

from jobs.errors import MissingColumnError
from jobs.sources.columns import Columns, Fragment, Wanted
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
            for columns in of_file[0].format.read(of_file, wanted, s3, batch_rows):
                step = batch_rows or max(columns.num_rows, 1)
                yield from (columns.take(slice(at, at + step)) for at in range(0, columns.num_rows, step))
        except MissingColumnError as exc:
            if location == fragments[0].location:
                raise
            raise MissingColumnError(f"{exc} ({fragments[0].location} has it)") from exc


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
