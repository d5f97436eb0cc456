"""The options of a request, which each format may give: the dataset, and what the answer has beside predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..errors import PayloadError
from ..wording import kind, shown
from .instances import Instances
from .payload import Extra, Protocol, Query, Request

OPTIONS = frozenset({"dataset", "interval", "extrapolation", "explanations", "extra"})


def query_of(
    instances: Instances,
    protocol: Protocol,
    options: Mapping[str, object],
    document: Mapping[str, object],
    request: Request,
) -> Query:
    """Return the query with these options. Raises PayloadError for a value that is none of an option."""
    return Query(
        instances,
        protocol,
        _dataset(options.get("dataset", request.dataset)),
        _interval(options.get("interval")),
        flag("extrapolation", options.get("extrapolation", False)),
        flag("explanations", options.get("explanations", request.explain)),
        _identifier(document.get("id")),
        _extra(options.get("extra", "error")),
    )


def parameters_of(
    document: Mapping[str, object], key: str = "parameters", beside: frozenset[str] = frozenset()
) -> Mapping[str, object]:
    """Return the options in `parameters`, or another key. Raises PayloadError for other names than these and `beside`.

    null, which clients send for no parameters, is an empty object.
    """
    parameters = document.get(key)
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise PayloadError(f"'{key}' is {kind(parameters)}: give an object with any of {sorted(OPTIONS)}")
    refuse_unknown(parameters, OPTIONS | beside)
    return parameters


def refuse_unknown(document: Mapping[str, object], allowed: frozenset[str]) -> None:
    """Raise PayloadError if the document has another key."""
    if not document.keys() <= allowed:
        unknown = [key for key in document if key not in allowed]
        raise PayloadError(f"key {shown(unknown[0])} is not known: the keys are {sorted(allowed)}")


def _dataset(value: object) -> str | tuple[str, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(cast(list[str], value))
    raise PayloadError(f"'dataset' is {kind(value)}: give a name, or a list with one name for each instance")


def _interval(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 < value < 1.0:
        return float(value)
    raise PayloadError(f"'interval' is {shown(value)}: give a level between 0 and 1, such as 0.95")


def flag(name: str, value: object) -> bool:
    """Return a truth. Raises PayloadError for another value."""
    if isinstance(value, bool):
        return value
    raise PayloadError(f"'{name}' is {shown(value)}: give true or false")


def _identifier(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise PayloadError(f"'id' is {kind(value)}: give a string")


def _extra(value: object) -> Extra:
    if isinstance(value, str) and value in ("error", "ignore"):
        return "error" if value == "error" else "ignore"
    raise PayloadError(f"'extra' is {shown(value)}: give 'error', or 'ignore' to leave out names that are no features")
