"""Python's collector of cycles, paused while requests are answered.

It looks through all lists and objects again and again while many are made: a body of 600,000 lists is read ten times
as fast without. What a request makes has no cycles, so all of it is freed when the answer is there.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the collector until the block ends, if it runs."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
