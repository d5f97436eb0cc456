"""Set the number of threads of torch operations, and run several operations in parallel threads.

The products of minibatches, and products with few columns, are too small to be split over threads. Instead several
products run in parallel, each in one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def num_threads(wanted: int) -> Iterator[None]:
    """Run the block with `wanted` threads for each operation; restore the number afterwards."""
    before = torch.get_num_threads()
    if wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def workers(number: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Run the block with a pool of threads; each operation uses one thread, in the pool and in the block."""
    with num_threads(1), ThreadPoolExecutor(number, name, torch.set_num_threads, (1,)) as pool:
        yield pool


def map_in_threads(function: Callable[[T], R], values: Iterable[T], number: int, name: str) -> list[R]:
    """Return the function's result for each value, in order, computed by `number` threads."""
    if number <= 1:
        return [function(value) for value in values]
    with workers(number, name) as pool:
        return list(pool.map(function, values))


def map_ahead(function: Callable[[T], R], values: Iterable[T], number: int, depth: int, name: str) -> Iterator[R]:
    """Yield the function's result for each value, in order; `number` threads compute up to `depth` results ahead.

    A caller that would wait computes an unstarted result itself. With no threads, results are computed on demand.
    """
    if number == 0:
        yield from map(function, values)
        return
    pending: deque[_Pending[T, R]] = deque()
    with workers(number, name) as pool:
        for value in values:
            pending.append(_Pending(value, pool.submit(function, value)))
            if len(pending) > depth:
                yield _first(pending, function)
        while pending:
            yield _first(pending, function)


@dataclass
class _Pending(Generic[T, R]):
    value: T
    future: Future[R]


def _first(pending: deque[_Pending[T, R]], function: Callable[[T], R]) -> R:
    """Return the first result. While a thread computes it, compute results that no thread has started."""
    first = pending.popleft()
    for other in (first, *pending):
        if first.future.done():
            break
        if other.future.cancel():
            other.future = Future()
            other.future.set_result(function(other.value))
    return first.future.result()
