"""Divide a stream of text into blocks of whole lines, and convert blocks ahead, several at once.

pyarrow could read a stream itself, but its threads may still ask for bytes when a refused file ends the process, which
then dies in C++. The threads here hold whole blocks, and the end of the process waits for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from jobs.sources.text_stream import TextStream

BLOCK_BYTES = 1 << 22
MOST_THREADS = 4

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Block:
    """Some lines of a file as UTF-8; `first_line` is the number of the first, from 1."""

    text: bytes
    first_line: int


def blocks(stream: TextStream, first_line: int) -> Iterator[Block]:
    """Yield the rest of a stream as blocks that end with a line, and are longer than `BLOCK_BYTES` if a line is."""
    rest, piece = b"", stream.read(BLOCK_BYTES)
    while piece:
        text, piece = rest + piece, stream.read(BLOCK_BYTES)
        cut = (text.rfind(b"\n") + 1 or text.rfind(b"\r", 0, -1) + 1) if piece else len(text)
        rest = text[cut:]
        if cut:
            yield Block(text[:cut], first_line)
            first_line += num_lines(text[:cut])


def lines_of(texts: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of consecutive blocks, with their ends; a byte that is not UTF-8 is a lone surrogate there."""
    for text in texts:
        yield from (line.decode("utf-8", "surrogateescape") for line in text.splitlines(keepends=True))


def num_lines(text: bytes) -> int:
    """Return the number of lines that end in a text: with a line feed, a carriage return, or both."""
    return len(text.splitlines()) if b"\r" in text else text.count(b"\n")


def converted_ahead(items: Iterable[In], convert: Callable[[In], Out]) -> Iterator[tuple[In, Out]]:
    """Yield each item with what `convert` makes of it, in their order; threads convert a few items ahead.

    What they have not begun when the iterator is exhausted or closed is dropped.
    """
    num_threads = min(pa.cpu_count(), MOST_THREADS)
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="gridline-blocks")
    waiting: deque[tuple[In, Future[Out]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(convert, item)))
            if len(waiting) > num_threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        # It does not wait: the garbage collector may close this generator in a thread that holds threading's own lock.
        # The interpreter joins the threads before it ends.
        pool.shutdown(wait=False, cancel_futures=True)
