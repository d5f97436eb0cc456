"""The options of a request, which each format may give: the dataset, and what the answer has beside predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import parse_qsl

from ..errors import PayloadError
from ..wording import kind, shown
from .instances import Instances
from .limits import MAX_IGNORED
from .payload import Extra, Protocol, Query, Request

OPTIONS = frozenset({"dataset", "interval", "extrapolation", "explanations", "extra"})
ELSEWHERE = frozenset({"model_name", "customized"})  # parameters of an address that hosts read themselves
HEADER = "gridline-options"  # as the query of an address: dataset=north&interval=0.95
HEADER_OF_SAGEMAKER = "x-amzn-sagemaker-custom-attributes"  # likewise; other attributes in it are left alone


def query_of(
    instances: Instances,
    protocol: Protocol,
    options: Mapping[str, object],
    document: Mapping[str, object],
    request: Request,
) -> Query:
    """Return the query with these options, and those beside the body.

    Raises PayloadError for a value that is none of an option, and where the body says another one than the address.
    """
    beside = options_beside(request)
    if beside:
        options = _agreed(options, beside)
    return Query(
        instances,
        protocol,
        _dataset(options.get("dataset")),
        _interval(options.get("interval")),
        flag("extrapolation", options.get("extrapolation", False)),
        flag("explanations", options.get("explanations", request.explain)),
        _identifier(document.get("id")),
        _extra(options.get("extra", "error")),
    )


def options_beside(request: Request) -> dict[str, object]:
    """Return the options that the address of a request gives, a form, or a header.

    Raises PayloadError for another option, and where two of them say different things.
    """
    given: dict[str, object] = {} if request.dataset is None else {"dataset": request.dataset}
    if request.parameters:
        refuse_unknown(request.parameters, OPTIONS | ELSEWHERE)
        given = _agreed(_typed(request.parameters), given)
    for header in (HEADER, HEADER_OF_SAGEMAKER):
        if header in request.headers:
            said = dict(parse_qsl(request.headers[header], keep_blank_values=True))
            if header == HEADER:
                refuse_unknown(said, OPTIONS)
            given = _agreed(_typed(said), given)
    return given


def most_columns(most_features: int, options: Mapping[str, object], request: Request) -> int:
    """Return how many columns beside the dataset a request may have: more than features only if it ignores them."""
    is_ignoring = "ignore" in (options.get("extra"), options_beside(request).get("extra"))
    return most_features + (MAX_IGNORED if is_ignoring else 0)


def _typed(texts: Mapping[str, str]) -> dict[str, object]:
    """Return options of an address or a header with the types that they have in JSON; other text stays text."""
    return {name: TYPES.get(name, str)(text) for name, text in texts.items() if name in OPTIONS}


def _truth(text: str) -> object:
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


TYPES: dict[str, Callable[[str], object]] = {"interval": _number, "extrapolation": _truth, "explanations": _truth}


def _agreed(options: Mapping[str, object], beside: Mapping[str, object]) -> dict[str, object]:
    """Return the options of both. Raises PayloadError for one that is given twice, with different values."""
    for name, value in beside.items():
        said = options.get(name)
        if said is None or said == value:
            continue
        if name == "dataset" and _dataset(said) in (value, (value,) * (len(said) if isinstance(said, list) else 1)):
            continue
        raise PayloadError(
            f"option '{name}' is {shown(value)} in the address, a form or a header, and {shown(said)} in the body: "
            "give it once"
        )
    return {**options, **beside}


def options_of(document: Mapping[str, object], key: str = "parameters") -> Mapping[str, object]:
    """Return the options of a document, which may stand in an object under `key` as well.

    Raises PayloadError for one that is given in both with two values.
    """
    if key not in document:
        return document
    parameters = parameters_of(document, key)
    twice = next(
        (name for name, value in parameters.items() if name in document and not _same(document[name], value)), None
    )
    if twice is not None:
        raise PayloadError(f"{shown(twice)} has one value in '{key}' and another one beside it: give it once")
    return {**parameters, **document}


def _same(one: object, other: object) -> bool:
    """Return whether two plain values are equal; lists, which may be nested deep, count as different."""
    return isinstance(one, (str, int, float)) and isinstance(other, (str, int, float)) and one == other


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
