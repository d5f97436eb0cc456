"""Pages of the names of datasets: from a name on, with a prefix, or with a text in them.

Names are sorted as UTF-8, and compared as they are written.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import PayloadError
from ..models.text_table import TextTable
from ..wording import shown

LIMIT = 100
MAX_LIMIT = 10_000
MAX_SCANNED_BYTES = 1 << 25  # of names, for one page: a million of 30 bytes
MAX_MATCHES = 10_000  # that one page looks at: some are across two names


@dataclass(frozen=True)
class Asked:
    """Which datasets a page lists: up to `limit`, after a name, with a prefix, and with a text in their names."""

    limit: int = LIMIT
    after: str | None = None
    prefix: str = ""
    contains: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Asked:
        """Return what the parameters of an address ask for. Raises PayloadError for a limit that is none."""
        limit = parameters.get("limit", str(LIMIT))
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 10 and 0 < int(limit) <= MAX_LIMIT):
            raise PayloadError(
                f"parameter 'limit' is {shown(limit)}: give the number of datasets, from 1 to {MAX_LIMIT}"
            )
        names = parameters.get("prefix", ""), parameters.get("contains", "")
        return cls(int(limit), parameters.get("after"), *names)


@dataclass(frozen=True)
class Page:
    """Names of datasets; `next` is the `after` of the next page, None on the last one.

    A page with a text to look for may have fewer names than its limit, and a next one.
    """

    datasets: list[str]
    next: str | None


def page_of(names: TextTable, asked: Asked) -> Page:
    """Return a page of sorted names, in a time that does not depend on their number, but for a text to look for."""
    start, stop = 0, len(names)
    if asked.prefix:
        prefix = _bytes(asked.prefix)
        start = bisect_left(range(stop), prefix, key=names.raw)
        stop = bisect_right(range(stop), prefix, key=lambda at: names.raw(at)[: len(prefix)], lo=start)
    if asked.after is not None:
        start = max(start, bisect_right(range(len(names)), _bytes(asked.after), key=names.raw))
    if asked.contains and start < stop:
        return _containing(names, start, stop, _bytes(asked.contains), asked.limit)
    end = min(start + asked.limit, stop)
    return Page([names[at] for at in range(start, end)], names[end - 1] if start < end < stop else None)


def _containing(names: TextTable, start: int, stop: int, text: bytes, limit: int) -> Page:
    """Return the names from `start` to `stop` with this text in them, up to a limit.

    The bytes of all names are searched at once: a match that is across two names is none.
    """
    first_byte = int(names.end_n[start - 1]) if start else 0
    scanned = start + 1 + int(np.searchsorted(names.end_n[start:stop], first_byte + MAX_SCANNED_BYTES))
    scanned = min(scanned, stop)
    content = names.utf8[first_byte : int(names.end_n[scanned - 1])].tobytes()
    found: list[str] = []
    at = content.find(text)
    position = _position(names, first_byte + at) if at >= 0 else scanned
    for _ in range(MAX_MATCHES):
        if position == scanned or len(found) == limit:
            break
        end, begin = int(names.end_n[position]) - first_byte, at + 1
        if at + len(text) <= end:
            found.append(names[position])
            begin = end
        at = content.find(text, begin)
        position = _position(names, first_byte + at) if at >= 0 else scanned
    return Page(found, names[position - 1] if position < stop else None)


def _position(names: TextTable, byte: int) -> int:
    """Return the position of the name that a byte belongs to."""
    return int(np.searchsorted(names.end_n, byte, side="right"))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
