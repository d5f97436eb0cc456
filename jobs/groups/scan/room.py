"""The memory of the sums of groups, estimated before they are made: with many levels, one group takes megabytes.

The sums of a group are f float64 for each of h folds, and f grows with the square of the columns. Measured, a task
takes 3.2 to 3.5 times the sums of its groups for one chunk of rows, and up to 9.3 times for more, which it merges. So
sums that don't fit `LEAST_COPIES` times can't be made. Tasks ask Ray for `USUAL_COPIES`, so that a node runs no more
of them at once than it has memory for.

Shapes: m groups · h = 1 + folds · f packed moments.
"""

from __future__ import annotations

import socket

from jobs.cluster.memory import available_bytes, size_text
from jobs.errors import DataError
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import packed_width
from jobs.sources.room import fewer_columns

LEAST_COPIES = 3
USUAL_COPIES = 9
MANY_BYTES = 64 * 2**20  # sums that take less are not worth a look at the memory


def sums_bytes(num_groups: int, layout: Layout) -> int:
    """Return the size of the sums of so many groups."""
    num_folds = layout.split.num_folds if layout.split else 0
    return num_groups * (1 + num_folds) * packed_width(len(layout.card.columns)) * 8


def require_room_for_many(num_groups: int, layout: Layout) -> None:
    """Raise DataError if the sums of so many groups can't be made here and now."""
    if sums_bytes(num_groups, layout) > MANY_BYTES:
        require_room(num_groups, layout, available_bytes(), place=f"node '{socket.gethostname()}'")


def require_room(num_groups: int, layout: Layout, room_bytes: int | None, *, place: str) -> None:
    """Raise DataError if the sums of so many groups take more memory than a place has (None: not known)."""
    needed_bytes = LEAST_COPIES * sums_bytes(num_groups, layout)
    if room_bytes is None or needed_bytes <= room_bytes:
        return
    d = len(layout.card.columns)
    raise DataError(
        f"the sums of {num_groups} groups with {d} columns take {size_text(needed_bytes)} in one task, and {place} has "
        f"{size_text(room_bytes)}: {fewer_columns(layout.card.features)}, or use nodes with more memory"
    )
