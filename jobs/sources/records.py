"""Divide the lines of a delimited file into records, strictly: a quote opens a cell at its start, or it is text.

This is slower than pyarrow, but it knows the line of each record and the options that drop lines. It refuses a quoted
cell that has rows in it: a quote that nobody closed would swallow them.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from jobs.errors import DataError
from jobs.sources.read_options import ReadOptions

csv.field_size_limit(1 << 30)  # a long cell of another column is no reason to stop looking

Record = tuple[int, list[str]]  # the line (from 1) at which it begins, and its cells
IsRow = Callable[[list[str]], bool]


class Lines:
    """The lines that are left when skipped ones and comments are dropped; `number` is that of the last one given."""

    def __init__(self, lines: Iterable[str], options: ReadOptions, delimiter: str, first_line: int = 1) -> None:
        self.number = first_line - 1
        self.given: list[tuple[int, str]] = []  # since the last record
        self.ended = False
        self._options = options
        self._delimiter = delimiter
        self._quoted = False  # at the end of the last line, where there are comments
        self._lines = iter(lines)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            self.number += 1
            if not self.skips(self.number - 1):
                text = self._without_comment(line)
                self.given.append((self.number, text))
                return text
        self.ended = True
        raise StopIteration

    def skips(self, row: int) -> bool:
        """Return whether the line with this number, from 0, is skipped."""
        skiprows = self._options.skiprows
        return row < skiprows if isinstance(skiprows, int) else row in skiprows

    def _without_comment(self, text: str) -> str:
        """Return the line without its comment, which begins outside quoted cells."""
        comment, quote = self._options.comment, self._options.quotechar
        if comment is None or not (self._quoted or comment in text or quote in text):
            return text
        starts_cell = True
        for at, character in enumerate(text):
            if self._quoted or (starts_cell and character == quote):
                self._quoted ^= character == quote  # a doubled quote closes, and opens again
                starts_cell = character == quote and not self._quoted and text[at + 1 : at + 2] == quote
            elif character == comment:
                return text[:at] + text[len(text.rstrip("\r\n")) :]
            else:
                starts_cell = character == self._delimiter
        return text


def records(
    lines: Lines, location: str, delimiter: str, quotechar: str, is_row: IsRow | None = None
) -> Iterator[Record]:
    """Yield the records but for blank ones.

    Raises DataError for a quote that is never closed, and for a quoted cell that holds a line which `is_row` (of its
    cells) takes for a row of its own, or which is followed by more than a delimiter.
    """
    reader = csv.reader(lines, delimiter=delimiter, quotechar=quotechar)
    blanks = " " if delimiter == "\t" else " \t"
    try:
        for cells in reader:
            line, given = lines.given[0][0], lines.given
            if len(given) > 1 or lines.ended:
                _check_quotes(lines, location, delimiter, quotechar, is_row)
            lines.given = []
            if cells and (len(cells) > 1 or not cells[0] or cells[0].strip(blanks)):
                yield line, cells
    except csv.Error as exc:
        raise DataError(f"{location}:{lines.number}: the row can't be read: {exc}. Correct it") from exc


def _check_quotes(lines: Lines, location: str, delimiter: str, quotechar: str, is_row: IsRow | None) -> None:
    """Raise DataError if the quotes of a record with several lines are not to be trusted."""
    (line, first), *others = lines.given
    remedy = f"close it or double it, or set 'quotechar' to a character other than {quotechar} where quotes are text"
    if lines.ended:
        raise DataError(f"{location}:{line}: a quote is opened and never closed: {remedy}")
    whole = is_row is not None and is_row(next(csv.reader([first], delimiter=delimiter, quotechar=quotechar)))
    for number, text in others:  # the last line may be the rest of a row that began with a text of several lines
        if is_row is not None and (whole or number < lines.number) and is_row(text.rstrip("\r\n").split(delimiter)):
            raise DataError(
                f"{location}:{line}: a quote is opened and swallows line {number}, which is a row: {remedy}"
            )
    try:
        list(csv.reader([text for _, text in lines.given], delimiter=delimiter, quotechar=quotechar, strict=True))
    except csv.Error as exc:
        reason = f"a quoted cell goes on to line {lines.number}, and text follows its end"
        raise DataError(f"{location}:{line}: {reason}: {remedy}") from exc


def without_footer(found: Iterator[str], num_lines: int) -> Iterator[str]:
    """Yield the lines but for the last `num_lines`."""
    held: deque[str] = deque()
    for text in found:
        held.append(text)
        if len(held) > num_lines:
            yield held.popleft()
