"""Find the names of the columns in a delimited file, the delimiter, and where the rows begin."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from handler.rows.cells import is_number
from jobs.errors import DataError
from jobs.sources.blocks import blocks, lines_of
from jobs.sources.columns import Wanted
from jobs.sources.names import clean, find_names, has_names
from jobs.sources.read_options import ReadOptions
from jobs.sources.records import Lines, Record, records, without_footer
from jobs.sources.text_stream import TextStream

HEAD_BYTES = 1 << 16
MOST_BYTES = 1 << 24
SAMPLE = 40
DELIMITERS = (",", ";", "\t", "|")
SEP_LINE = re.compile(r'"?sep=(.)"?(?:\r?\n|$)', re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """The names of a file's columns, and how its rows are divided.

    `width` is the number of cells of a row: those of `names`, and empty ones without a name. `line` is that of the
    names (0 without); `first_line` and `offset` (in bytes of UTF-8) are where the rows begin.
    """

    location: str
    names: tuple[str, ...]
    width: int
    delimiter: str
    line: int
    first_line: int
    offset: int

    def positions(self, wanted: Sequence[Wanted]) -> list[int]:
        """Return the position of each column. Raises MissingColumnError, or DataError if two columns have its name."""
        return find_names(f"{self.location}:{self.line}" if self.line else self.location, self.names, wanted)

    def lines(self, stream: TextStream, options: ReadOptions) -> Lines:
        """Return the lines of the rows; the stream is where `read_header` has left it."""
        texts = lines_of(block.text for block in blocks(stream.after(self.offset), self.first_line))
        rows = without_footer(texts, options.skipfooter) if options.skipfooter else texts
        return Lines(rows, options, self.delimiter, self.first_line)


@dataclass(frozen=True)
class _Head:
    """The first records of a file, divided by one delimiter: the names (None without), and some rows."""

    delimiter: str
    names: Record | None
    last_line: int
    rows: list[Record]

    def has(self, wanted: Sequence[Wanted], given: Sequence[str]) -> bool:
        return has_names(given or (self.names[1] if self.names else ()), wanted)

    def doubt(self) -> int:
        """Return how little the delimiter looks like that of the file, from 0."""
        widths = {len(cells) for _, cells in self.rows}
        width = len(self.names[1]) if self.names else max(widths, default=0)
        return 2 if width < 2 else 0 if widths <= {width} or widths == {width + 1} else 1


def read_header(
    stream: TextStream, location: str, options: ReadOptions, usual: str, wanted: Sequence[Wanted] = ()
) -> Header:
    """Return the header of a file; its delimiter may be another than the `usual` one where the options say none.

    Raises DataError if the file is empty, or `names` does not fit it; MissingColumnError if a wanted column is missing.
    """
    text = _first_lines(stream)
    sep = SEP_LINE.match(text)
    known = options.delimiter or (sep and sep[1])
    heads = [_divide(text, location, options, one, bool(sep)) for one in ([known] if known else _delimiters(usual))]
    likely = sorted(heads, key=_Head.doubt)
    head = next((each for each in heads if wanted and each.has(wanted, options.names)), likely[0])
    header = _header(head, text, location, options, wanted)
    if wanted and not has_names(header.names, wanted):
        _explain(location, header, heads, wanted)
    return header


def _delimiters(usual: str) -> list[str]:
    return list(dict.fromkeys((usual, *DELIMITERS)))


def _first_lines(stream: TextStream) -> str:
    """Return the first lines of a file: more bytes of them where they are long."""
    size = HEAD_BYTES
    while True:
        head = stream.peek(size)
        whole = len(head) < size
        cut = head if whole else head[: max(head.rfind(b"\n"), head.rfind(b"\r", 0, -1)) + 1]
        if whole or cut.count(b"\n") + cut.count(b"\r") > SAMPLE or size >= MOST_BYTES:
            return cut.decode("utf-8", "surrogateescape")
        size *= 4


def _divide(text: str, location: str, options: ReadOptions, delimiter: str, has_sep: bool) -> _Head:
    """Return the first records. Raises DataError if there is no header."""
    lines = Lines(io.StringIO(text, newline=""), options, delimiter)
    if has_sep and not lines.skips(0):
        next(lines)
        lines.given = []
    found = records(lines, location, delimiter, options.quotechar)
    above = -1 if options.header is None else options.header
    names = next(islice(found, above, None), None) if above >= 0 else None
    if above >= 0 and names is None:
        what = "empty: write a header and rows" if not text.strip() else "shorter than 'skiprows' and 'header' say"
        raise DataError(f"{location}: the file is {what}")
    skipped = options.skiprows if isinstance(options.skiprows, int) else 0
    last_line = lines.number if names else max(skipped, int(has_sep))
    rows: list[Record] = []
    with suppress(DataError):  # the head may end within a quoted cell; rows are checked when they are read
        rows.extend(islice(found, SAMPLE))
    return _Head(delimiter, names, last_line, rows)


def _header(head: _Head, text: str, location: str, options: ReadOptions, wanted: Sequence[Wanted]) -> Header:
    line, names = head.names or (0, [])
    names = list(options.names) or names
    width = len(names)
    first = head.rows[0][1] if head.rows else names
    if len(first) > width and _all(head.rows, lambda cells: not any(cell.strip() for cell in cells[width:])):
        width = len(first)
    elif len(first) == width + 1 and not options.names and _have_row_names(head.rows, names, wanted):
        names, width = ["", *names], width + 1
    elif len(first) < width and not any(name.strip() for name in names[len(first) :]):
        names, width = names[: len(first)], len(first)
    if options.names and len(first) != width:
        reason = f"'names' has {len(names)} names, and the row {len(first)} cells"
        raise DataError(f"{location}:{head.rows[0][0]}: {reason}: give a name for each cell")
    lines = islice(io.StringIO(text, newline=""), head.last_line)
    offset = sum(len(each.encode("utf-8", "surrogateescape")) for each in lines)
    return Header(location, tuple(names), width, head.delimiter, line, head.last_line + 1, offset)


def _all(rows: Sequence[Record], holds: Callable[[list[str]], bool]) -> bool:
    """Return whether all rows that are as wide as the first have a property."""
    return bool(rows) and all(holds(cells) for _, cells in rows if len(cells) == len(rows[0][1]))


def _have_row_names(rows: Sequence[Record], names: Sequence[str], wanted: Sequence[Wanted]) -> bool:
    """Return whether the first cells are names of rows, as R writes them without a name: words, or 1, 2, 3, …"""
    first = [cells[0].strip() for _, cells in rows]
    numbers = [1 + names.index(column.name) for column in wanted if column.content == "number" and column.name in names]
    if len(first) < 2 or not all(is_number(cells[at]) for _, cells in rows for at in numbers if at < len(cells)):
        return False
    counted = [str(number) for number in range(len(first) + 1)]
    return first in (counted[:-1], counted[1:]) or not any(map(is_number, first))


def _explain(location: str, header: Header, heads: Sequence[_Head], wanted: Sequence[Wanted]) -> None:
    """Raise the DataError of a header without the wanted columns, if it tells why they are missing."""
    for head in heads:
        for line, cells in head.rows:
            if has_names(cells, wanted):
                missing = next(column.name for column in wanted if not has_names(header.names, [column]))
                raise DataError(
                    f"{location}:{header.line}: column {missing!r} is missing, and line {line} has the names: "
                    f"set 'skiprows: {line - 1}'{_or_comment(header.names[0])}"
                )
    if not all(map(is_utf8, header.names)):
        place = f"{location}:{header.line}"
        raise DataError(f"{place}: the header has a byte that is not UTF-8: set 'encoding', such as 'encoding: cp1252'")
    named = [name for name in header.names if name.strip()]
    if header.line and len(named) > 1 and all(map(is_number, named)):
        shown = ", ".join(map(repr, named[:4])) + (", …" if len(named) > 4 else "")
        columns = "one for each column" if len(named) > 9 else f"{len(named)} names"
        raise DataError(
            f"{location}:{header.line}: the first line is numbers, {shown}: the file has no header: "
            f"set 'names' to a list of {columns}"
        )


def is_utf8(text: str) -> bool:
    """Return whether all bytes of a decoded text were UTF-8."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _or_comment(first: str) -> str:
    mark = clean(first)[:1]
    return f", or 'comment: \"{mark}\"'" if mark in ("#", "%", "!", "*") and mark else ""
