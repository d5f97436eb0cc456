"""The memory of this machine: what a process may still take, and what a task has freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

# The limit of a container, what it uses, and what of that are cached files, which it gives up: in cgroups of version 2,
# and of version 1.
CGROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def give_back_memory() -> None:
    """Return freed memory to the operating system, if the C library can; takes a few milliseconds."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that processes may still take, on this machine and in this container; None: not known.

    `root` is where the files of the system are.
    """
    known = [_of_machine(root / "proc/meminfo")]
    known += [_of_container(root / "sys/fs/cgroup", *names) for names in CGROUPS]
    return min((each for each in known if each is not None), default=None)


def size_text(size_bytes: float) -> str:
    """Return a size for a message: `1.5 GB`."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"


def _of_machine(path: Path) -> int | None:
    fields = _fields(path)
    return None if "MemAvailable:" not in fields else fields["MemAvailable:"] * 1024


def _of_container(folder: Path, limit: str, used: str, cached: str) -> int | None:
    with suppress(OSError, ValueError):  # `max`: there is no limit
        left = int((folder / limit).read_text()) - int((folder / used).read_text())
        return left + _fields((folder / limit).with_name("memory.stat")).get(cached, 0)
    return None


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number in each line."""
    with suppress(OSError):
        lines = (line.split() for line in path.read_text().splitlines())
        return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
    return {}
