"""Tables as wide as their terminal: on a narrow one they have no frame, and only words are broken, never numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import HEAVY_HEAD
from rich.markup import escape
from rich.table import Table

NARROW = 100  # columns of a terminal
WORDS = (
    "dataset",
    "status",
    "metric",
    "collection",
    "run",
    "action",
    "note",
)  # aligned left, may be broken


def table_of(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> Table:
    """Return a table for a terminal of so many columns; the cells of other headings than `WORDS` stay whole."""
    narrow = width < NARROW
    padding = (0, 1, 0, 0 if narrow else 1)
    table = Table(title=escape(title), title_justify="left", box=None if narrow else HEAVY_HEAD, padding=padding)
    for place, heading in enumerate(headings):
        if heading in WORDS:
            table.add_column(heading, overflow="fold")
        else:
            texts = (*heading.split(), *(row[place] for row in rows))
            table.add_column(heading, justify="right", min_width=max(map(len, texts), default=0))
    for row in rows:
        table.add_row(*map(escape, row))
    return table
