"""Show a caller's data in messages: on one line, and never long."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from itertools import islice

SHOWN = 60
NAMES_SHOWN = 12
NAME_SHOWN = 30
LONGEST_COMPARED = 64
MOST_COMPARED = 1_000
MANY_DIGITS = 1 << 128
BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
KINDS = {dict: "an object", str: "a string", bool: "a boolean", type(None): "null", int: "a number", float: "a number"}


def shown(value: object) -> str:
    """Return a value for a message: a scalar, shortened; for a list or an object only its kind."""
    if isinstance(value, int) and abs(value) >= MANY_DIGITS:
        return "an integer of many digits"
    if isinstance(value, str):
        return shortened(repr(value[: SHOWN + 1]))
    return shortened(repr(value)) if value is None or isinstance(value, (int, float)) else kind(value)


def on_one_line(text: str) -> str:
    """Return a text in which what would begin another line, or moves a terminal's cursor, is escaped."""
    return BREAKS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def kind(value: object) -> str:
    """Return the kind of a JSON value, in words."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return KINDS.get(type(value), "not JSON")


def shortened(text: str, length: int = SHOWN) -> str:
    """Return the text, cut at `length`."""
    return text if len(text) <= length else text[:length] + "…"


def listed(names: Sequence[str]) -> str:
    """Return names as a list; of many names only the first."""
    more = len(names) - NAMES_SHOWN
    first = ", ".join(shortened(repr(name[: NAME_SHOWN + 1]), NAME_SHOWN) for name in names[:NAMES_SHOWN])
    return f"[{first}]" + (f" and {more} more" if more > 0 else "")


def ignored_names(names: Sequence[str]) -> str:
    """Return the warning about names that are no features, and were ignored."""
    return f"names that are no features were ignored: {listed(names)}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant: equal but for case and blanks, else alike; None if none is.

    Names that are long, or one of many, are only alike if they are equal so: to compare letters takes time.
    """
    if len(name) > LONGEST_COMPARED:
        return None
    plain = {"".join(each.split()).casefold(): each for each in names}
    own = "".join(name.split()).casefold()
    if own in plain:
        return plain[own]
    compared = [each for each in islice(plain, MOST_COMPARED) if len(each) <= LONGEST_COMPARED]
    close = difflib.get_close_matches(own, compared, n=1)
    return plain[close[0]] if close else None
