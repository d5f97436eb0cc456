"""Convert blocks of a delimited file by pyarrow, where it gives the same rows as a strict reader."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from handler.rows.cells import MISSING, is_number
from jobs.sources.blocks import Block, num_lines
from jobs.sources.columns import Array, Columns, Fragment, Wanted
from jobs.sources.conversions import to_columns
from jobs.sources.headers import Header
from jobs.sources.read_options import ReadOptions


class BlockReader:
    """Reads blocks of one file; several threads may ask at once. When `stopped` is set, it converts no more."""

    def __init__(
        self, fragment: Fragment, header: Header, wanted: Sequence[Wanted], at: Sequence[int], options: ReadOptions
    ) -> None:
        self.stopped = False
        self._fragment, self._header, self._wanted, self._at, self._options = fragment, header, wanted, at, options
        self._of_positions = list(zip(at, wanted, strict=True))
        self._unnamed = range(len(header.names), header.width)

    def read(self, block: Block) -> Columns | None:
        """Return the rows of a block; None if pyarrow refuses it, or can't be trusted with its quotes."""
        if self.stopped:
            return None
        for as_text in (False, True):  # a truth, or a cell of blanks, is not a number to pyarrow: again as text
            try:
                return self._columns(block, as_text=as_text)
            except ValueError:
                continue
        return None

    def _columns(self, block: Block, *, as_text: bool) -> Columns | None:
        """Return the rows, None where quotes are odd. Raises ValueError for a wrong cell or row."""
        skipped: list[bool] = []
        table = self._table(block.text, skipped, as_text=as_text)
        quote = self._options.quotechar
        if quote.encode() in block.text and not self._one_line_each(block.text, table.num_rows + len(skipped)):
            return None
        if any(pc.any(pc.not_equal(pc.utf8_trim_whitespace(table[str(at)]), "")).as_py() for at in self._unnamed):
            return None
        named = table.select([str(at) for at in self._at]).rename_columns([column.name for column in self._wanted])
        return to_columns(self._fragment, 0, named, self._wanted, _floats, self._options)

    def _table(self, text: bytes, skipped: list[bool], *, as_text: bool) -> Any:
        """Return the columns by their positions as pyarrow reads them; `skipped` gets an item for each blank row."""
        header, options = self._header, self._options
        blanks = " " if header.delimiter == "\t" else " \t"
        number = pa.string() if as_text else pa.float64()
        kinds = {str(at): number if each.kind == "number" else pa.string() for at, each in self._of_positions}
        kinds |= {str(at): pa.string() for at in self._unnamed}
        if not text.strip(b"\r\n"):
            return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})

        def handle(row: Any) -> str:
            if row.text.strip(blanks):
                return "error"
            skipped.append(True)
            return "skip"

        return arrow_csv.read_csv(
            pa.BufferReader(text),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=[str(at) for at in range(header.width)]
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=header.delimiter,
                quote_char=options.quotechar,
                newlines_in_values=True,
                invalid_row_handler=handle,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(kinds) or ["0"],
                column_types=kinds,
                null_values=[*MISSING, *(mark for mark in options.na_values if not is_number(mark))],
                strings_can_be_null=False,
                decimal_point=options.decimal,
            ),
        )

    def _one_line_each(self, text: bytes, num_rows: int) -> bool:
        """Return whether each row is one line, so that no quote has swallowed a line, nor goes on in the next block."""
        lines = num_lines(text) + (not text.endswith((b"\n", b"\r")))
        if num_rows != lines and num_rows != sum(map(bool, text.splitlines())):
            return False
        last = text.rstrip(b"\r\n").replace(b"\r", b"\n").rpartition(b"\n")[2].decode("utf-8", "surrogateescape")
        more = iter([last, ""])
        next(csv.reader(more, delimiter=self._header.delimiter, quotechar=self._options.quotechar))
        return next(more, None) is not None  # the reader did not need it


def _floats(column: Any) -> Array:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
