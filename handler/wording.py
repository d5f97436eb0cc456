"""How messages show what a caller sent: on one line, never long, whatever it was."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 60
NAMES_SHOWN = 12
NAME_SHOWN = 30
MANY_DIGITS = 1 << 128


def shown(value: object) -> str:
    """Return a value as a message shows it: scalars as they are, shortened; of a list or an object only what it is."""
    if isinstance(value, int) and abs(value) >= MANY_DIGITS:
        return "an integer of many digits"
    return shortened(repr(value)) if value is None or isinstance(value, (str, int, float)) else kind(value)


def kind(value: object) -> str:
    """Return what a JSON value is, in words."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    names = {
        dict: "an object",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "not JSON")


def shortened(text: str, length: int = SHOWN) -> str:
    """Return the text, cut where it is longer than that."""
    return text if len(text) <= length else text[:length] + "…"


def listed(names: Sequence[str]) -> str:
    """Return names as a list, the first of them where there are many."""
    more = len(names) - NAMES_SHOWN
    first = ", ".join(shortened(repr(name), NAME_SHOWN) for name in names[:NAMES_SHOWN])
    return f"[{first}]" + (f" and {more} more" if more > 0 else "")
