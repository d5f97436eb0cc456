"""Estimate the clock of a server from the Date headers of its responses."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime


class ServerClock:
    """How far the server's clock is from ours; ages of objects are counted with it, never with ours alone."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the server has ever answered."""
        return self._offset_s is not None

    def note(self, date_header: str | None) -> None:
        """Take in the Date header of an answer that has just come.

        The header has whole seconds, so the largest offset seen is the nearest; one far below it is a clock that was
        set.
        """
        if date_header is None:
            return
        offset_s = parsedate_to_datetime(date_header).timestamp() - time.time()
        before_s = self._offset_s
        self._offset_s = offset_s if before_s is None or offset_s < before_s - 2 else max(before_s, offset_s)

    def now(self) -> float:
        """Return the server's time in seconds since the epoch, ours if it has never answered."""
        return time.time() + (self._offset_s or 0.0)
