"""JSON as requests have it: in UTF-8, each key once, and no more lists and objects than a worker can hold."""

from __future__ import annotations

import json
from collections import Counter

from ..errors import PayloadError
from ..wording import shortened, shown
from .limits import check_containers


def value_of_json(text: str) -> object:
    """Return the JSON value of a text, in time that grows with its length.

    Raises PayloadError for invalid JSON, deep nesting, a repeated key, or too many lists and objects.
    """
    check_containers(text)
    try:
        return DECODER.decode(text)
    except RecursionError as exc:
        raise PayloadError("the request is nested too deep: instances are lists or objects of plain values") from exc
    except PayloadError:
        raise
    except ValueError as exc:  # JSONDecodeError, and an integer of too many digits
        raise PayloadError(f"the request is not JSON: {shortened(str(exc))}") from exc


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object with these pairs. Raises PayloadError if a key occurs twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise PayloadError(f"key {shown(repeated)} occurs twice in one object: give each key once")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_unique)
