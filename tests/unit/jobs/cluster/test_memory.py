"""What a task has freed, other processes can have; what they may still take is known."""

from __future__ import annotations

import ctypes
from pathlib import Path

import psutil
import pytest

from jobs.cluster.memory import available_bytes, give_back_memory, size_text

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


def system(root: Path, files: dict[str, str]) -> Path:
    """Return a folder with files of a system."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal:       24000000 kB\nMemAvailable:   2000000 kB\nHugePages_Total:       0\n"}


def test_available_bytes_are_those_of_the_machine_without_a_container(tmp_path: Path) -> None:
    assert available_bytes(system(tmp_path, MACHINE)) == 2_000_000 * 1024
    unlimited = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "7\n"}
    assert available_bytes(system(tmp_path, unlimited)) == 2_000_000 * 1024


@pytest.mark.parametrize(
    "names",
    [
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (*(f"memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat")), "total_inactive_file"),
    ],
)
def test_available_bytes_are_those_of_the_container_with_its_cached_files(tmp_path: Path, names: list[str]) -> None:
    limit, used, stat, cached = names
    files = {limit: "1000000000\n", used: "900000000\n", stat: f"anon 1\n{cached} 250000000\n"}
    root = system(tmp_path, MACHINE | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert available_bytes(root) == 350_000_000


def test_available_bytes_are_not_known_on_another_system(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None


def test_size_text_has_one_digit_behind_the_point() -> None:
    assert (size_text(432e9), size_text(1.55e6)) == ("432.0 GB", "1.6 MB")
