"""Cut a sequence into chunks of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def chunk_by_size(items: Sequence[Item], size_bytes: Callable[[Item], int], limit_bytes: int) -> list[list[Item]]:
    """Return the items in order, in lists; a list ends as soon as its size reaches the limit."""
    chunks: list[list[Item]] = []
    filled = limit_bytes
    for item in items:
        if filled >= limit_bytes:
            chunks.append([])
            filled = 0
        chunks[-1].append(item)
        filled += size_bytes(item)
    return chunks
