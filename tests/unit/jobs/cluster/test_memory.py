"""What a task has freed, other processes can have."""

from __future__ import annotations

import ctypes

import psutil
import pytest

from jobs.cluster.memory import give_back_memory

PIECE_BYTES = 50_000  # too small for pages of its own


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim")
def test_freed_memory_goes_back_to_the_system() -> None:
    process = psutil.Process()
    # Between what is freed stays something, so that the heap does not get shorter by itself.
    pieces = [(bytes(PIECE_BYTES + number % 7), bytes(1000)) for number in range(4000)]
    kept = [small for _, small in pieces]
    del pieces
    freed = process.memory_info().rss
    give_back_memory()
    assert len(kept) == 4000
    assert process.memory_info().rss < freed - 100 * 2**20
