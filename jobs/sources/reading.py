"""Read the columns of fragments of any format: a fragment at once, or in chunks of bounded size, read ahead.

Memory: with `batch_rows`, a chunk of so many rows or `delimited.BLOCK_BYTES` of text, and those that `prefetched` reads
ahead; the size of a file or of a row group has no effect.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from jobs.errors import MissingColumnError
from jobs.sources.columns import Columns, Fragment, Wanted
from model_store.objects.s3_settings import S3Settings

Item = TypeVar("Item")

CHUNKS_AHEAD = 2


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

    Errors of the items are raised here. The thread ends when the iterator is exhausted or closed.
    """
    ready: queue.Queue[Item | _End] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, ready, stopped), name="gridline-prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        while not ready.empty():  # the thread may wait for room
            ready.get_nowait()
        thread.join()


class _End:
    """The end of the items, with the error that ended them early."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _fill(items: Iterable[Item], ready: queue.Queue[Item | _End], stopped: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            ready.put(item)
            if stopped.is_set():
                return
    except BaseException as exc:  # noqa: BLE001  (whatever it is, it belongs to the caller's thread)
        error = exc
    ready.put(_End(error))
