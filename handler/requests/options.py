"""The options of a request, which each format may give: the dataset, and what the answer has beside predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..errors import PayloadError
from ..wording import kind, shown
from .instances import Instances
from .payload import Protocol, Query, Request

OPTIONS = frozenset({"dataset", "interval", "extrapolation", "explanations"})


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
        _flag("extrapolation", options.get("extrapolation", False)),
        _flag("explanations", options.get("explanations", request.explain)),
        _identifier(document.get("id")),
    )


def parameters_of(document: Mapping[str, object]) -> Mapping[str, object]:
    """Return the options in `parameters`. Raises PayloadError for another key."""
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        raise PayloadError(f"'parameters' is {kind(parameters)}: give an object with any of {sorted(OPTIONS)}")
    refuse_unknown(parameters, OPTIONS)
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


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise PayloadError(f"'{name}' is {shown(value)}: give true or false")


def _identifier(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise PayloadError(f"'id' is {kind(value)}: give a string")
