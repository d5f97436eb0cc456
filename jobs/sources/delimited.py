"""Read csv and tsv: pyarrow converts blocks of lines, and `by_record` what it refuses, to read it or to say why.

Cells are UTF-8, or what the options say; a byte order mark, CRLF, quoted cells and blank lines are understood. Nothing
is coerced: a cell of a numeric column is a number, a truth, or missing (see `handler.rows.cells`), or it is an error.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain, islice

from jobs.errors import DataError
from jobs.sources.arrow_blocks import BlockReader
from jobs.sources.blocks import blocks, converted_ahead, lines_of
from jobs.sources.by_record import read_records
from jobs.sources.cells import shown, truth_among_numbers
from jobs.sources.columns import Columns, Fragment, Wanted
from jobs.sources.conversions import has_other_numbers
from jobs.sources.filesystems import read_again
from jobs.sources.headers import Header, read_header
from jobs.sources.names import cleaned
from jobs.sources.read_options import DEFAULTS, ReadOptions
from jobs.sources.records import Lines, records
from jobs.sources.text_stream import TextStream, compression_of, open_text
from model_store.objects.s3_settings import S3Settings

Opener = Callable[[str, ReadOptions, S3Settings], AbstractContextManager[TextStream]]

FEW = 64  # the first numbers of a block, which mostly show that it has no truths
COMPRESSED_RATIO = 5  # about how much larger the text is


class NumberKinds:
    """Which columns of a file have truths, and which other numbers: a block alone does not show that one has both."""

    def __init__(self, s3: S3Settings) -> None:
        self._s3 = s3
        self._truths: dict[str, tuple[Columns, int]] = {}
        self._others: set[str] = set()

    def check(self, columns: Columns) -> None:
        """Raise DataError if a column has truths among other numbers, in these rows or those before."""
        for name, row in columns.truths.items():
            self._truths.setdefault(name, (columns, row))
        for name, value_n in columns.numbers.items():
            if name not in self._others and (has_other_numbers(value_n[:FEW]) or has_other_numbers(value_n)):
                self._others.add(name)
        for name in self._truths.keys() & self._others:
            first, row = self._truths[name]
            place, cell = first.fragment.format.cell(first, row, name, self._s3)
            raise truth_among_numbers(place, name, cell.strip("' "))


@dataclass(frozen=True)
class Delimited:
    """Csv and tsv files: a fragment is a whole file, because only reading shows where rows end.

    `delimiter` is the usual one of such files; the header may show another. `opened` opens a file as text.
    """

    delimiter: str
    options: ReadOptions = DEFAULTS
    opened: Opener = open_text

    rereads_for_cell = True

    def fragments(self, location: str, size_bytes: int, s3: S3Settings) -> list[Fragment]:
        ratio = COMPRESSED_RATIO if self.opened is not open_text or compression_of(location, self.options) else 1
        return [Fragment(location, size_bytes * ratio, self)]

    @read_again
    def column_names(self, location: str, s3: S3Settings) -> tuple[str, ...]:
        with self.opened(location, self.options, s3) as stream:
            return cleaned(read_header(stream, location, self.options, self.delimiter).names)

    @read_again
    def delimiter_of(self, location: str, s3: S3Settings) -> str:
        """Return the character between the cells of a file."""
        with self.opened(location, self.options, s3) as stream:
            return read_header(stream, location, self.options, self.delimiter).delimiter

    @read_again
    def require(self, location: str, wanted: Sequence[Wanted], s3: S3Settings) -> None:
        """Raise DataError if the header lacks a wanted column, or `names` does not fit the file."""
        with self.opened(location, self.options, s3) as stream:
            read_header(stream, location, self.options, self.delimiter, wanted).positions(wanted)

    def read(
        self, fragments: Sequence[Fragment], wanted: Sequence[Wanted], s3: S3Settings, batch_rows: int | None
    ) -> Iterator[Columns]:
        [fragment] = fragments
        with self.opened(fragment.location, self.options, s3) as stream:
            header = read_header(stream, fragment.location, self.options, self.delimiter, wanted)
            known = replace(self, options=replace(self.options, delimiter=header.delimiter))
            at = header.positions(wanted)
            row, kinds = 0, NumberKinds(s3)
            for columns in known._read(replace(fragment, format=known), stream, header, wanted, at):
                kinds.check(placed := replace(columns, first_row=row))
                yield placed
                row += columns.num_rows

    @read_again
    def cell(self, columns: Columns, row: int, name: str, s3: S3Settings) -> tuple[str, str]:
        location = columns.fragment.location
        with self.opened(location, self.options, s3) as stream:
            header = read_header(stream, location, self.options, self.delimiter, [Wanted(name)])
            [at] = header.positions([Wanted(name)])
            lines = header.lines(stream, self.options)
            found = records(lines, location, header.delimiter, self.options.quotechar)
            for line, cells in islice(found, columns.file_row(row), None):
                return f"{location}:{line}", shown(cells[at])
        raise DataError(f"{location}: row {row} is gone: the file changed while it was read; start again")

    def _read(
        self, fragment: Fragment, stream: TextStream, header: Header, wanted: Sequence[Wanted], at: Sequence[int]
    ) -> Iterator[Columns]:
        """Yield the rows, by pyarrow as long as it can be trusted."""
        if self.options.drops_lines:
            yield from read_records(fragment, header, header.lines(stream, self.options), wanted, at, self.options)
            return
        reader = BlockReader(fragment, header, wanted, at, self.options)
        pairs = converted_ahead(blocks(stream.after(header.offset), header.first_line), reader.read)
        for block, columns in pairs:
            if columns is not None:
                yield columns
                continue
            reader.stopped = True
            texts = chain([block.text], (later.text for later, _ in pairs))
            lines = Lines(lines_of(texts), self.options, header.delimiter, block.first_line)
            yield from read_records(fragment, header, lines, wanted, at, self.options)
