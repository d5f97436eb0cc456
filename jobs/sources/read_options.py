"""How the files of a source are read, as plain values: the options of pandas, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.rows.cells import MISSING, is_number, number_of

if TYPE_CHECKING:
    from jobs.config.reading_options import ReadingConfig


@dataclass(frozen=True)
class ReadOptions:
    """The options of delimited files and of sheets; `na_values` and `na_values_of` hold for every format.

    `delimiter` and `encoding` are found from the file where they are None. `header` is the row (from 0, after the
    skipped ones) that has the names; None if there is none. `skiprows` is a number of lines at the top, or the lines
    (from 0). `na_values` are texts that are missing in every column, `na_values_of` in a column each.
    """

    delimiter: str | None = None
    decimal: str = "."
    thousands: str | None = None
    encoding: str | None = None
    na_values: tuple[str, ...] = ()
    na_values_of: tuple[tuple[str, tuple[str, ...]], ...] = ()
    comment: str | None = None
    skiprows: int | tuple[int, ...] = 0
    skipfooter: int = 0
    header: int | None = 0
    names: tuple[str, ...] = ()
    quotechar: str = '"'
    compression: str = "infer"
    sheet_name: str | int = 0

    def marks(self, column: str, kind: str) -> frozenset[str]:
        """Return the texts that are missing in a column of this kind; in a text column only those that are named."""
        named = frozenset((*self.na_values, *dict(self.na_values_of).get(column, ())))
        return named | {""} if kind == "text" else named | MISSING

    @property
    def drops_lines(self) -> bool:
        """Whether lines within or after the rows are dropped."""
        return self.comment is not None or not isinstance(self.skiprows, int) or self.skipfooter > 0

    def numeric_marks(self, column: str) -> list[float]:
        """Return the marks that are numbers: a number that equals one is missing, however it is written."""
        named = (*self.na_values, *dict(self.na_values_of).get(column, ()))
        return [number_of(mark) for mark in named if is_number(mark)]


DEFAULTS = ReadOptions()


def read_options(config: ReadingConfig) -> ReadOptions:
    """Return the options of a dataset's configuration, or of a prediction's, as plain values."""
    of_columns = config.na_values if isinstance(config.na_values, dict) else {}
    header = config.header if isinstance(config.header, int) else None
    return ReadOptions(
        delimiter=config.delimiter,
        decimal=config.decimal,
        thousands=config.thousands,
        encoding=config.encoding,
        na_values=() if isinstance(config.na_values, dict) else config.na_values,
        na_values_of=tuple(sorted(of_columns.items())),
        comment=config.comment,
        skiprows=config.skiprows,
        skipfooter=config.skipfooter,
        header=0 if config.header == "infer" and not config.names else header,
        names=config.names,
        quotechar=config.quotechar,
        compression=config.compression,
        sheet_name=config.sheet_name,
    )
