"""Python's collector of cycles, paused while requests are answered.

It looks through all lists and objects again and again while many are made: a body of 600,000 lists is read ten times
as fast without. What a request makes has no cycles, so all of it is freed when the answer is there.
"""

from __future__ import annotations

import gc


class PausedCollector:
    """Pauses the collector while it is entered, if it runs. A class, as a generator takes microseconds."""

    __slots__ = ("_ran",)

    def __enter__(self) -> None:
        self._ran = gc.isenabled()
        gc.disable()

    def __exit__(self, *error: object) -> None:
        if self._ran:
            gc.enable()
