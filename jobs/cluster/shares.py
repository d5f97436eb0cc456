"""Work dealt out by size, neighbours together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def chunk_by_size(items: Sequence[Item], size_bytes: Callable[[Item], int], limit_bytes: int) -> list[list[Item]]:
    """Return the items in order, in shares that are closed as soon as they reach the limit."""
    shares: list[list[Item]] = []
    filled = limit_bytes
    for item in items:
        if filled >= limit_bytes:
            shares.append([])
            filled = 0
        shares[-1].append(item)
        filled += size_bytes(item)
    return shares
