"""How many threads work, and each operation of torch may use.

The products of minibatches, and of columns this few, are too small to be shared by threads: instead several run beside
each other, one thread to each.
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
    """Run the block with `wanted` threads to an operation; afterwards there are as many as before."""
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
    """Run the block with a pool of threads beside it; operations use one thread each, in the pool and in the block."""
    with num_threads(1), ThreadPoolExecutor(number, name, torch.set_num_threads, (1,)) as pool:
        yield pool


def map_in_threads(function: Callable[[T], R], values: Iterable[T], number: int, name: str) -> list[R]:
    """Return the function's value for each, in order, computed by a number of threads."""
    if number <= 1:
        return [function(value) for value in values]
    with workers(number, name) as pool:
        return list(pool.map(function, values))


def map_ahead(function: Callable[[T], R], values: Iterable[T], number: int, depth: int, name: str) -> Iterator[R]:
    """Yield the function's value for each, in order; up to `depth` are made ahead, by a number of threads.

    A caller that would wait computes an unstarted item itself; with no threads, items are computed on demand.
    """
    if number == 0:
        yield from map(function, values)
        return
    coming: deque[_Coming[T, R]] = deque()
    with workers(number, name) as pool:
        for value in values:
            coming.append(_Coming(value, pool.submit(function, value)))
            if len(coming) > depth:
                yield _first(coming, function)
        while coming:
            yield _first(coming, function)


@dataclass
class _Coming(Generic[T, R]):
    value: T
    made: Future[R]


def _first(coming: deque[_Coming[T, R]], function: Callable[[T], R]) -> R:
    """Take what comes first; as long as a thread is at it, make others that none has begun."""
    first = coming.popleft()
    for other in (first, *coming):
        if first.made.done():
            break
        if other.made.cancel():
            other.made = Future()
            other.made.set_result(function(other.value))
    return first.made.result()
