"""How the files of a dataset are read: keys of a dataset, and options of `gridline predict --input`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from jobs.config.values import WHOLE, Section, Text, items, refused


def _character(value: Any) -> Any:
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n":
        raise refused("is not one character: write one, such as ','")
    return value


def _ascii(value: Any) -> Any:
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n" or not value.isascii():
        raise refused("is not one character of ASCII: write one, such as '#'")
    return value


def _delimiter(value: Any) -> Any:
    if not isinstance(value, str) or len(value) != 1 or value in '"\r\n' or not value.isascii():
        raise refused("is not a delimiter: write one character, such as ';' or \"\\t\"")
    return value


def _encoding(value: Any) -> Any:
    try:
        if isinstance(value, str) and "a".encode(value) and "\0" not in value:
            return value
    except (LookupError, ValueError):
        pass
    raise refused("is not a known encoding: write utf-8, cp1252 or utf-16, or leave it out")


def _mark(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise refused("is neither a text nor a number: put it in quotes")
    return value if isinstance(value, str) else repr(value)


def _marks(value: Any) -> Any:
    """Return the marks as text: those of all columns, or of each column in a mapping."""
    if isinstance(value, Mapping):
        return {str(name): tuple(map(_mark, items(marks))) for name, marks in value.items()}
    return tuple(map(_mark, items(value)))


def _rows(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(row, bool) or not isinstance(row, int) or row < 0 for row in numbers):
        raise refused("is neither a number of lines nor a list of them: write 3, or [1] for the line after the header")
    return tuple(numbers) if isinstance(value, list | tuple) else value


def _header(value: Any) -> Any:
    if value in ("infer", "none", None):
        return value or "none"
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refused("is not a row: write 'none', or the number of the row with the names, from 0")
    return value


def _sheet(value: Any) -> Any:
    if isinstance(value, bool) or not (isinstance(value, str) or (isinstance(value, int) and value >= 0)):
        raise refused("is not a sheet: write its name, or its number from 0")
    return value


Delimiter = Annotated[str, BeforeValidator(_delimiter)]
Ascii = Annotated[str, BeforeValidator(_ascii)]


class ReadingConfig(Section):
    """How the files of a dataset are read, by the names of pandas' options."""

    format: Literal["auto", "csv", "tsv", "parquet", "xlsx"] = "auto"
    """The format of the files; `auto` goes by their names."""
    delimiter: Delimiter | None = None
    """The character between the cells of a csv file; found from the header where it is left out."""
    decimal: Ascii = "."
    """The character before the decimals of a number."""
    thousands: Annotated[str, BeforeValidator(_character)] | None = None
    """The character between thousands."""
    encoding: Annotated[str, BeforeValidator(_encoding)] | None = None
    """The encoding of the text, such as cp1252; left out: UTF-8, or UTF-16 by its mark."""
    na_values: Annotated[
        tuple[str, ...] | dict[str, tuple[str, ...]],
        BeforeValidator(
            _marks,
            json_schema_input_type=str | float | list[str | float] | dict[str, str | float | list[str | float]],
        ),
    ] = ()
    """Texts and numbers that are missing values, beside the usual marks; or a mapping of columns to them."""
    comment: Ascii | None = None
    """The character from which the rest of a line is a comment."""
    skiprows: Annotated[int | tuple[int, ...], BeforeValidator(_rows, json_schema_input_type=int | list[int])] = 0
    """How many lines are skipped at the top; or a list of the lines to skip, from 0, such as a row of units."""
    skipfooter: Annotated[int, Field(ge=0), WHOLE] = 0
    """How many lines are skipped at the end, such as a row of totals."""
    header: Annotated[
        int | Literal["infer", "none"], BeforeValidator(_header, json_schema_input_type=int | Literal["infer", "none"])
    ] = "infer"
    """The row with the names, from 0, after the skipped ones; `none`: no row has them. `infer`: the first row, or none
    where `names` are given."""
    names: Annotated[tuple[Text, ...], BeforeValidator(items, json_schema_input_type=list[str])] = ()
    """The names of the columns in their order, where the file has none, or in place of those that it has."""
    quotechar: Ascii = '"'
    """The character around cells that hold the delimiter."""
    compression: Literal["infer", "none", "gzip", "bz2", "zstd", "xz"] = "infer"
    """How the files are compressed; `infer` goes by their names."""
    sheet_name: Annotated[str | int, BeforeValidator(_sheet)] = 0
    """The sheet of an Excel file: its name, or its number from 0."""

    @model_validator(mode="after")
    def _readable(self) -> ReadingConfig:
        if self.delimiter is not None and self.format == "parquet":
            raise refused("has no meaning for parquet: remove it", key="delimiter")
        if self.header == "none" and not self.names:
            raise refused("says that no row has the names: give them by 'names'", key="header")
        if self.thousands == self.decimal:
            raise refused("is the character before the decimals, too: set 'decimal'", key="thousands")
        for name in ("decimal", "comment", "quotechar"):
            if self.delimiter is not None and getattr(self, name) == self.delimiter:
                raise refused("is the delimiter, too: change one of them", key=name)
        return self
