"""Turn columns of pyarrow into arrays: text into levels, numbers or days, and dates into days or text.

Text is converted level by level, not cell by cell, so a column of few distinct values costs little.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from handler.rows.cells import TRUTHS, level_of, number_of
from handler.rows.datetimes import days_of
from jobs.sources.columns import Array, Columns, Fragment, Text, Wanted
from jobs.sources.read_options import DEFAULTS, ReadOptions

Floats = NDArray[np.float64]
Marks = Collection[str]

BLANKS = r"^[^!-~]|[^!-~]$"  # of ASCII only the others may be blanks; what is no ASCII is looked at alone
NS_OF_DAY = 86_400 * 10**9
NS_OF = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def is_text(found: Any) -> bool:
    """Return whether a type of pyarrow is text."""
    return bool(types.is_string(found) or types.is_large_string(found) or types.is_string_view(found))


def to_columns(
    fragment: Fragment,
    first_row: int,
    table: Any,
    wanted: Sequence[Wanted],
    convert: Callable[[Any], Array],
    options: ReadOptions = DEFAULTS,
) -> Columns:
    """Return a pyarrow table or record batch as columns; `convert` turns a column into numbers.

    Raises ValueError for a text that is not what is wanted.
    """
    numbers, texts, raws = {}, {}, {}
    truths: dict[str, int] = {}
    for column in wanted:
        cells, marks = table.column(column.name), options.marks(column.name, column.kind)
        if column.kind == "raw":
            raws[column.name] = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
        elif column.kind == "text":
            texts[column.name] = text_of(cells, marks)
        elif column.kind == "datetime":
            numbers[column.name] = days_of_column(cells, marks)
        else:
            if is_text(cells.type):
                number_n, truth_row = numbers_of_text(cells, marks, options)
                truths |= {} if truth_row is None else {column.name: truth_row}
            else:
                number_n = convert(cells)
            named = options.numeric_marks(column.name)
            numbers[column.name] = np.where(np.isin(number_n, named), np.nan, number_n) if named else number_n
    return Columns(fragment, first_row, table.num_rows, numbers, texts, raws, truths=truths)


def text_of(column: Any, marks: Marks) -> Text:
    """Return a column as text; a mark, and a cell of blanks, is missing. Levels that differ by blanks are one."""
    array = _dictionary(column)
    if (usual := _usual_levels(array.dictionary, marks)) is not None:
        return Text(_codes(array), usual)
    code_n, texts = levels_of(array)
    levels = [None if text is None or (level := level_of(text)) in marks else level for text in texts]
    distinct = list(dict.fromkeys(level for level in levels if level is not None))
    if len(distinct) < len(levels):  # a level is missing, or two are one
        position = {level: at for at, level in enumerate(distinct)}
        new_code = np.array([*(-1 if level is None else position[level] for level in levels), -1], np.int32)
        code_n = new_code[code_n]
    return Text(code_n, np.array(distinct, dtype=object))


def numbers_of_text(column: Any, marks: Marks, options: ReadOptions) -> tuple[Floats, int | None]:
    """Return a column of text as float64, NaN where a cell is missing, and the row of its first truth, if it has one.

    Raises ValueError for another text.

    Truths count as 1 and 0 in a column that has only truths, 1 and 0: "no" among prices is no price.
    """
    if options.decimal == ".":
        text = pc.utf8_trim_whitespace(column)
        with suppress(pa.ArrowInvalid):  # most columns are numbers and marks; the rest is converted by level
            number = pc.if_else(pc.is_in(text, value_set=pa.array(list(marks))), None, text).cast(pa.float64())
            return np.asarray(number.to_numpy(zero_copy_only=False), dtype=np.float64), None
    code_n, texts = levels_of(column)
    convert = partial(number_of, marks=marks, decimal=options.decimal, thousands=options.thousands)
    value = _values(texts, convert)
    truths = np.array([*(text is not None and text.strip() in TRUTHS for text in texts), False], dtype=bool)
    if not truths.any():
        return value[code_n], None
    if has_other_numbers(value):
        raise ValueError("truths among numbers")
    return value[code_n], int(truths[code_n].argmax())


def has_other_numbers(value_n: Array) -> bool:
    """Return whether a number is neither 0 nor 1, nor missing."""
    return bool(((value_n != 0) & (value_n != 1) & ~np.isnan(value_n)).any())


def days_of_column(column: Any, marks: Marks) -> Floats:
    """Return a column of dates, times or text as days since 1970-01-01 UTC, float64, NaN where a cell is missing.

    Raises ValueError for a text that is neither a date nor a time.
    """
    value_type = column.type.value_type if types.is_dictionary(column.type) else column.type
    if is_text(value_type):
        code_n, texts = levels_of(column)
        return _values(texts, partial(days_of, marks=marks))[code_n]
    if types.is_timestamp(value_type):
        ticks_n, missing_n = _whole_numbers(column.cast(value_type).cast(pa.int64()))
        per_day = NS_OF_DAY // NS_OF[value_type.unit]
        day_n, rest_n = np.divmod(ticks_n, per_day)  # exact, where int64 is beyond float64
        return np.where(missing_n, np.nan, day_n + rest_n / per_day)
    day_n, missing_n = _whole_numbers(column.cast(pa.date32()).cast(pa.int32()))
    return np.where(missing_n, np.nan, day_n.astype(np.float64))


def _whole_numbers(column: Any) -> tuple[Array, NDArray[np.bool_]]:
    missing_n = np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False)), missing_n


def levels_of(column: Any) -> tuple[NDArray[np.int32], Sequence[str | None]]:
    """Return the level of each cell, -1 where it is null, and the levels as text."""
    array = _dictionary(column)
    return _codes(array), _texts(array.dictionary)


def _dictionary(column: Any) -> Any:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = array.cast(pa.string()) if types.is_null(array.type) else array
    return array if types.is_dictionary(array.type) else array.dictionary_encode()


def _codes(array: Any) -> NDArray[np.int32]:
    codes: NDArray[np.int32] = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return codes


def _usual_levels(levels: Any, marks: Marks) -> Array | None:
    """Return levels of text or whole numbers as they are; None if one is missing, or has blanks around it.

    This is `level_of` for many levels at once, as groups have them.
    """
    if levels.null_count or not (is_text(levels.type) or types.is_integer(levels.type)):
        return None
    texts = levels.cast(pa.large_string())
    if is_text(levels.type):
        odd = pc.or_(pc.match_substring_regex(texts, BLANKS), pc.is_in(texts, value_set=pa.array(list(marks))))
    else:
        odd = pc.is_in(texts, value_set=pa.array(list(marks)))
    if pc.any(odd).as_py():
        return None
    return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)


def _texts(levels: Any) -> Sequence[str | None]:
    """Return levels as text. A whole number that is stored as a float has no point, a midnight without zone no time."""
    if types.is_floating(levels.type):
        return [_text_of_float(value) for value in levels.to_numpy(zero_copy_only=False)]
    if types.is_decimal(levels.type):
        return [text and _without_zeros(text) for text in levels.cast(pa.string()).to_pylist()]
    if types.is_date(levels.type):
        levels = levels.cast(pa.date32())
    if types.is_timestamp(levels.type):
        zone = None if levels.type.tz is None else "UTC"
        return list(map(_text_of_time, levels.cast(pa.timestamp(levels.type.unit, zone)).cast(pa.string()).to_pylist()))
    texts: Sequence[str | None] = levels.cast(pa.large_string()).to_pylist()
    return texts


def _text_of_float(value: Any) -> str | None:
    if np.isnan(value):
        return None
    if np.isinf(value):
        raise ValueError(f"{value} is no category")
    return str(int(value)) if value.is_integer() else str(value)


def _without_zeros(text: str) -> str:
    """Return a decimal number without zeros at its end."""
    return text.rstrip("0").removesuffix(".") if "." in text and "E" not in text else text


def _text_of_time(text: str | None) -> str | None:
    """Return a time of pyarrow, `2024-01-01 12:30:00.500000`, in ISO 8601 without needless zeros."""
    if text is None:
        return None
    time, zone = text.removesuffix("Z").replace(" ", "T"), "Z" if text.endswith("Z") else ""
    time = _without_zeros(time)
    return time + zone if zone else time.removesuffix("T00:00:00")


def _values(texts: Sequence[str | None], convert: Callable[[str], float]) -> Floats:
    """Return the value of each level, and NaN at the end (at -1). Raises ValueError for the first that has none."""
    return np.array([*(np.nan if text is None else convert(text) for text in texts), np.nan])
