"""Delimited files at their worst, the options that pandas reads them with, and whether two readings are equal."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from hypothesis import strategies as st

NUMBERS = ("0", "1", "-2", "3.5", "1e3", "-4.25E-2", "+7", ".5", "6.", " 8 ", "0012", "9007199254740993", "1e-320")
ODD_NUMBERS = ("true", "False", "yes", "NO", "inf", "1_000", "0x1F", "٣", "12abc", "1 000", "1,5", "2024-01-05", "5'")
MARKS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", ".", "?", "\\N", "<NA>", "#N/A", "#DIV/0!")
WORDS = ("red", "blue", "a b", "x;y", "x,y", "tab\tin", 'say "hi"', '5" pipe', "naïve", "n ", " n", "001", "1.10")
ODD_WORDS = ("two\nlines", "crlf\r\nin", "cr\rin", "#hash", "=1+1", "'", "''", '""', '"', 'a"', "\u00a0", *MARKS)
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
NUMBER_COLUMNS, TEXT_COLUMNS = ("a", "y"), ("s",)
UNUSED = ("u", "u", 'size (5")', "naïve", "a b", "u v\nw", "")

Lines = list[str]
Columns = dict[str, list[Any]]
Options = dict[str, Any]


@dataclass(frozen=True)
class HostileFile:
    """The bytes of a file with the columns a and y (numbers), s (text) and others, and the options to read it with.

    `options` have pandas' names; those of default value are left out, and so is a delimiter that the header tells.
    """

    content: bytes
    suffix: str
    delimiter: str
    options: Options


@st.composite
def hostile_files(draw: st.DrawFn) -> HostileFile:
    """Return a delimited file with a few oddities of each kind, or none."""
    usual = draw(st.booleans())
    delimiter = draw(st.sampled_from(",,;\t|"))
    options: Options = {} if draw(st.booleans()) else {"delimiter": delimiter}
    names = [*NUMBER_COLUMNS, *TEXT_COLUMNS, *draw(st.lists(st.sampled_from(UNUSED), max_size=2))]
    names = draw(st.permutations(names))
    cells = dict.fromkeys(NUMBER_COLUMNS, _numbers(draw, delimiter, options, usual))
    cells["s"] = st.sampled_from(WORDS if usual else WORDS + ODD_WORDS)
    other = st.sampled_from(WORDS + ODD_WORDS)
    rows = [[draw(cells.get(name, other)) for name in names] for _ in range(draw(st.integers(2, 12)))]
    lines = _quoted(draw, [names, *rows], delimiter, usual)
    lines = _between(draw, _around(draw, lines, delimiter, options), delimiter, usual)
    end = draw(st.sampled_from(("\n", "\r\n", "\r")))
    text = end.join(lines) + (end if draw(st.booleans()) else "")
    return _file(draw, text, delimiter, options)


def _numbers(draw: st.DrawFn, delimiter: str, options: Options, usual: bool) -> st.SearchStrategy[str]:
    """Return the cells of a column of numbers: with marks of a missing one, and odd ones in some files."""
    cells = st.sampled_from(NUMBERS)
    if draw(st.integers(0, 3)) == 0:
        cells = st.one_of(cells, st.sampled_from(("1,234", "1,234,567.5", "-12,000")))
        options["thousands"] = ","
    if delimiter != "," and draw(st.integers(0, 3)) == 0:
        cells = cells.map(lambda cell: cell.translate({ord(","): ".", ord("."): ","}))
        options |= {"decimal": ",", "thousands": "."} if "thousands" in options else {"decimal": ","}
    if draw(st.booleans()):
        cells = st.one_of(cells, cells, st.sampled_from(MARKS))
    if draw(st.integers(0, 3)) == 0:
        cells = st.one_of(cells, cells, st.sampled_from(("-999", "unknown")))
        options["na_values"] = ("-999", "unknown")
    return cells if usual else st.one_of(cells, cells, cells, st.sampled_from(ODD_NUMBERS))


def _quoted(draw: st.DrawFn, rows: list[list[str]], delimiter: str, usual: bool) -> Lines:
    """Return the rows as lines without their ends: quoted as csv asks for, all quoted, or with no quotes at all."""
    quotings = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    quoting = draw(st.sampled_from(quotings if usual else (*quotings, None)))
    if quoting is None:
        return [delimiter.join(row) for row in rows]
    lines = []
    for row in rows:
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="").writerow(row)
        lines.append(text.getvalue())
    return lines


def _around(draw: st.DrawFn, lines: Lines, delimiter: str, options: Options) -> Lines:
    """Return the lines with what programs put above and below a table, and the option that skips it."""
    kind = draw(st.sampled_from(("", "", "", "comments", "title", "units", "no header", "totals")))
    if kind == "comments":
        options["comment"] = "#"
        return [f"# exported{delimiter} today", *lines, "# end"]
    if kind == "title":
        options["skiprows"] = 2
        return ["Sales of 2024", f"by store{delimiter}", *lines]
    if kind == "units":
        options["skiprows"] = (1,)
        return [lines[0], delimiter.join("m²" for _ in lines[0].split(delimiter)), *lines[1:]]
    if kind == "no header" and '"' not in lines[0] and len(set(names := lines[0].split(delimiter))) == len(names):
        options["names"] = tuple(names)
        return lines[1:]
    if kind == "totals":
        options["skipfooter"] = 1
        return [*lines, f"Total{delimiter}99"]
    return lines


def _between(draw: st.DrawFn, lines: Lines, delimiter: str, usual: bool) -> Lines:
    """Return the lines with delimiters at their ends, a blank line, and in an unusual file a character out of place."""
    if draw(st.integers(0, 4)) == 0:
        lines = [line + delimiter for line in lines]
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(lines)))
        lines = [*lines[:at], "", *lines[at:]]
    if not usual and draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(lines) - 1))
        cut = draw(st.integers(0, len(lines[at])))
        stray = draw(st.sampled_from(['"', delimiter, "\0", "\n", '",']))
        lines = [*lines[:at], lines[at][:cut] + stray + lines[at][cut:], *lines[at + 1 :]]
    return lines


def _file(draw: st.DrawFn, text: str, delimiter: str, options: Options) -> HostileFile:
    encoding = draw(st.sampled_from(("utf-8", "utf-8-sig", "cp1252", "utf-16")))
    if encoding == "cp1252":
        options["encoding"] = encoding
    ending = draw(st.sampled_from(("", "", "", *COMPRESSIONS)))
    suffix = ".tsv" if delimiter == "\t" else ".csv"
    content = COMPRESSIONS[ending](text.encode(encoding, "replace"))
    return HostileFile(content, suffix + ending, delimiter, options)


def same(first: Columns, second: Columns) -> bool:
    """Return whether two readings have the same rows."""
    return pd.DataFrame(first, dtype=object).equals(pd.DataFrame(second, dtype=object))
