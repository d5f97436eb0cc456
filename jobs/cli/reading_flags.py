"""The options of `predict` that say how its files are read: one for each key by which a dataset says it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

HELP = {
    "format": "csv, tsv, parquet …; default: by the name of the file. For - it is required.",
    "delimiter": "The character between cells; default: found from the header.",
    "decimal": "The character before decimals, such as ','.",
    "thousands": "The character between thousands.",
    "encoding": "Such as cp1252; default: UTF-8, or UTF-16 by its mark.",
    "na_values": "A text that is a missing value, beside the usual ones; repeat it, or '{column: [text]}'.",
    "comment": "The character from which the rest of a line is a comment.",
    "skiprows": "How many lines are skipped at the top, or a list of them, from 0, such as '[1]'.",
    "skipfooter": "How many lines are skipped at the end.",
    "header": "The row with the names, from 0, or none.",
    "names": "The names of the columns, as '[a, b]'; or repeat it.",
    "quotechar": "The character around cells that hold the delimiter.",
    "compression": "gzip, bz2, zstd, xz or none; default: by the name of the file.",
    "sheet_name": "The sheet of an Excel file: its name, or its number from 0.",
}
REPEATED = ("na_values", "names")

Flags = dict[str, str | list[str]]


def with_reading_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Return the verb with an option for each key of reading; it gets those that are given as `flags`."""

    @functools.wraps(command)
    def verb(**arguments: Any) -> int:
        flags = {name: value for name in HELP if (value := arguments.pop(name))}
        return command(**arguments, flags=flags)

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [*(each for each in own if each.name != "flags"), *map(_parameter, HELP)]
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return verb


def _parameter(name: str) -> inspect.Parameter:
    kind: Any = list[str] | None if name in REPEATED else str | None
    option = typer.Option(f"--{name.replace('_', '-')}", help=f"Of --input: {HELP[name]}", show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])
