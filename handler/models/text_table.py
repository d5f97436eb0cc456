"""Many strings in few arrays, which can be memory-mapped, and an index with lookups in constant time.

Shapes: n rows of the table, one string each.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EMPTY = -1


@dataclass(frozen=True)
class TextTable:
    """n strings as one array of UTF-8 bytes; string i is `utf8[end[i - 1]:end[i]]`."""

    utf8: NDArray[np.uint8]
    end_n: NDArray[np.int64]

    @classmethod
    def of(cls, strings: Iterable[str]) -> TextTable:
        """Return the table of these strings, in their order."""
        encoded = [string.encode() for string in strings]
        utf8 = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(utf8, np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.end_n)

    def __getitem__(self, index: int) -> str:
        return self.raw(index).decode()

    def raw(self, index: int) -> bytes:
        """Return string `index` as UTF-8."""
        start = int(self.end_n[index - 1]) if index else 0
        return self.utf8[start : int(self.end_n[index])].tobytes()


@dataclass(frozen=True)
class NameIndex:
    """A hash table over a TextTable, with linear probing: a slot has the position of a string, or -1.

    Their number is a power of two; at least half of them are empty. A million names of 20 bytes take 44 MB.
    """

    names: TextTable
    slots: NDArray[np.int32]

    @classmethod
    def of(cls, names: Sequence[str]) -> NameIndex:
        """Return the index of these distinct names."""
        slots = array("i", [EMPTY]) * (1 << (2 * len(names)).bit_length())
        mask = len(slots) - 1
        for position, name in enumerate(names):
            slot = _hash(name.encode()) & mask
            while slots[slot] != EMPTY:
                slot = (slot + 1) & mask
            slots[slot] = position
        return cls(TextTable.of(names), np.array(slots, np.int32))

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int:
        """Return the position of `name`, or -1 if it is absent, in constant time."""
        raw = name.encode(errors="surrogatepass")
        mask = len(self.slots) - 1
        slot = _hash(raw) & mask
        while (position := int(self.slots[slot])) != EMPTY:
            if self.names.raw(position) == raw:
                return position
            slot = (slot + 1) & mask
        return EMPTY


def _hash(raw: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
