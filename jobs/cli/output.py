"""The output of verbs: text, or one JSON document with --json, on standard output; errors on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.cli.log import LOG

if TYPE_CHECKING:
    from rich.console import Console


def emit_json(document: Any) -> None:
    """Print one JSON document on standard output; NaN and infinity are an error."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))


def emit(document: Any, text: str, *, as_json: bool) -> None:
    """Print the document as JSON, or else the text."""
    if as_json:
        emit_json(document)
    else:
        console().print(text, markup=False)


def emit_json_stream(document: Mapping[str, Any], key: str, items: Iterable[Any]) -> None:
    """Print one JSON document whose last key has a list, item by item, so that the list need not fit in memory.

    NaN and infinity become null.
    """
    import orjson

    sys.stdout.write(f"{json.dumps(dict(document), ensure_ascii=False, allow_nan=False)[:-1]}, {json.dumps(key)}: [")
    for number, item in enumerate(items):
        sys.stdout.write((", " if number else "") + orjson.dumps(item).decode())
    sys.stdout.write("]}\n")


def report_error(message: str, exit_code: int, *, as_json: bool) -> int:
    """Print an error on standard error, with --json also as a JSON document; return the exit code."""
    return report_errors([message], exit_code, as_json=as_json)


def report_errors(messages: Sequence[str], exit_code: int, *, as_json: bool) -> int:
    """Print each error in a line of its own, with --json also all as one JSON document; return the exit code."""
    lines = [" ".join(message.split()) for message in messages]
    for line in lines:
        if LOG.handler is None:
            print(f"gridline: {line}", file=sys.stderr)
        else:
            LOG.write(line, level=logging.ERROR)
    if as_json:
        several = {"errors": lines} if len(lines) > 1 else {}
        emit_json({"error": "; ".join(lines), "exit_code": exit_code, **several})
    return exit_code


def number(value: Any, form: str) -> str:
    """Return a number as text; an empty text for anything else."""
    return format(value, form) if isinstance(value, int | float) else ""


def console() -> Console:
    """Return the console of standard output: as wide as the terminal, else 120 columns."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)
