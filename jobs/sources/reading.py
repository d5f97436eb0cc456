"""The columns of fragments, whatever their format: a fragment at once, or in blocks of bounded size, read ahead.

Memory: `iterate` holds a block of `batch_rows` rows, or of `delimited.BLOCK_BYTES` of text, and `prefetched` as many
more as it reads ahead; whatever the size of a file or of a row group.
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

BLOCKS_AHEAD = 2


def read_columns(fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings) -> Iterator[Columns]:
    """Yield all rows of each fragment, in the order given.

    Raises DataError, with file, row, column and value, where a cell is not what is wanted, and SourceError.
    """
    return _read(fragments, wanted, s3, batch_rows=None)


def iterate(
    fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, *, batch_rows: int
) -> Iterator[Columns]:
    """Yield the rows of each fragment, in the order given, in blocks of at most `batch_rows`; see `read_columns`."""
    for columns in _read(fragments, wanted, s3, batch_rows):
        for start in range(0, columns.num_rows, batch_rows):
            yield columns.take(slice(start, start + batch_rows))


def prefetched(items: Iterable[Item], ahead: int = BLOCKS_AHEAD) -> Iterator[Item]:
    """Yield the items, having a thread make up to `ahead` more of them while the caller is busy with one.

    What the items raise is raised here. The thread ends when the iterator is exhausted or closed.
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
    """The end of the items, and what ended them early."""

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


def _read(
    fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None
) -> Iterator[Columns]:
    for location, group in groupby(fragments, key=lambda fragment: fragment.location):
        of_file = list(group)
        try:
            yield from of_file[0].format.read(of_file, wanted, s3, batch_rows)
        except MissingColumnError as exc:
            if location == fragments[0].location:
                raise
            raise MissingColumnError(f"{exc} ({fragments[0].location} has it)") from exc
