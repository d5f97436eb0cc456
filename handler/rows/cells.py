"""What a cell of text is: a number, a truth, missing, or a level; for training, files to predict, and requests.

The marks of a missing value count in columns of numbers and of dates. In a column of text only an empty cell is
missing, and what the user names in `na_values`: so "NA" may be Namibia, and "-" or "None" a level.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from functools import lru_cache

MISSING = frozenset(
    {
        *("", "NA", "N/A", "n/a", "na", "N.A.", "n.a.", "<NA>", "#N/A", "#N/A N/A", "#NA", "NULL", "Null", "null"),
        *("NaN", "nan", "NAN", "Nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "None", "none"),
        *("#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "-", "--", "–", "—", ".", "?", "\\N"),
    }
)
TRUTHS = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES"), 1.0),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO"), 0.0),
}
BLANKS = "\u00a0\u202f\u2009"  # what spreadsheets and printers write between thousands, beside the blank


def number_of(
    text: str, marks: Collection[str] = MISSING, *, decimal: str = ".", thousands: str | None = None
) -> float:
    """Return the number in a cell: NaN for a mark of a missing value, 1 and 0 for a truth. Blanks around are ignored.

    `decimal` stands before the decimals, `thousands` between groups of digits. Raises ValueError for another text.
    """
    cell = text.strip()
    if cell in marks:
        return math.nan
    if cell in TRUTHS:
        return TRUTHS[cell]
    if thousands is not None and (found := _with_thousands(decimal, thousands).fullmatch(cell)):
        cell = re.sub(r"[^0-9+-]", "", found[1]) + found[2]
    if decimal != ".":
        if "." in cell and not (thousands is not None and found):
            raise ValueError(text)
        cell = cell.replace(decimal, ".")
    if "_" in cell or not cell.isascii():  # Python reads 1_000 and foreign digits as numbers
        raise ValueError(text)
    return float(cell)


def is_number(text: str) -> bool:
    """Return whether a text is a number, not missing and no truth."""
    try:
        number = number_of(text)
    except ValueError:
        return False
    return not math.isnan(number) and text.strip() not in TRUTHS


def level_of(text: str) -> str:
    """Return the level that a cell of a text column names: blanks around it are ignored."""
    return text.strip()


@lru_cache(maxsize=64)
def _with_thousands(decimal: str, thousands: str) -> re.Pattern[str]:
    """Return the pattern of a number with separators between its digits, in two parts: whole, and the rest.

    Groups have three digits, but for those before the last, which have two in India: 1,23,456.
    """
    between = f"[{BLANKS} ]" if thousands == " " else re.escape(thousands)
    return re.compile(
        rf"([+-]?[0-9]{{1,3}}(?:{between}[0-9]{{2,3}})*{between}[0-9]{{3}})((?:{re.escape(decimal)}[0-9]*)?(?:[eE][+-]?[0-9]+)?)"
    )
