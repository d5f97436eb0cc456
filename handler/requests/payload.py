"""Parse a request: JSON (`instances`, or `inputs` of the Open Inference protocol) or CSV becomes a Query.

This module needs neither a server nor a model card; `handler/requests/instances.py` turns the instances into columns.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from ..errors import PayloadError
from ..wording import kind, listed, shortened, shown
from .instances import Instances, Rows, Table
from .open_inference import table_of

Protocol = Literal["instances", "inputs"]
Method = Literal["GET", "POST"]

MAX_INSTANCES = 100_000
OPTIONS = frozenset({"dataset", "interval", "extrapolation", "explanations"})
INSTANCES_KEYS = OPTIONS | {"instances", "id", "parameters", "signature_name"}
INPUTS_KEYS = frozenset({"inputs", "outputs", "id", "parameters"})


@dataclass(frozen=True)
class Request:
    """A request as a host received it.

    `body` is bytes, text, or JSON that the host has decoded. The address gives `dataset` (its last part), `explain` (a
    form of it) and `parameters` (its query). The names of `headers` are in lower case.
    """

    body: object = b""
    content_type: str = "application/json"
    dataset: str | None = None
    explain: bool = False
    method: Method = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Query:
    """A parsed request. `dataset` is one for all instances, one for each, or None if the instances name it."""

    instances: Instances
    protocol: Protocol = "instances"
    dataset: str | tuple[str, ...] | None = None
    interval: float | None = None
    extrapolation: bool = False
    explanations: bool = False
    id: str | None = None


def parse(request: Request) -> Query:
    """Return the parsed request. Raises PayloadError if gridline can't read it."""
    if isinstance(request.body, (bytes, bytearray, str)):
        if not request.body.strip():
            raise PayloadError('the request is empty: send {"instances": [[…], …]} or [{"feature": value, …}, …] in it')
        if request.content_type.startswith("text/csv"):
            return _checked(Query(_table_of_csv(_text(request.body)), dataset=request.dataset))
        document = _json(request.body)
    else:
        document = request.body
    if not isinstance(document, dict):
        raise PayloadError(f'the request is {kind(document)}: send an object such as {{"instances": [[…], …]}}')
    return _checked(_of_inputs(document, request) if "inputs" in document else _of_instances(document, request))


def _checked(query: Query) -> Query:
    """Return the query. Raises PayloadError for no instances, too many, or a wrong number of datasets."""
    num_rows = len(query.instances)
    if num_rows == 0:
        raise PayloadError("the request has no instances: send at least one")
    if num_rows > MAX_INSTANCES:
        raise PayloadError(f"the request has {num_rows} instances: send at most {MAX_INSTANCES} at a time")
    if isinstance(query.dataset, tuple) and len(query.dataset) != num_rows:
        raise PayloadError(f"'dataset' has {len(query.dataset)} names for {num_rows} instances: give one for each")
    return query


def _json(body: bytes | bytearray | str) -> object:
    """Return the JSON value of `body`. Raises PayloadError for invalid JSON, deep nesting, or a repeated key."""
    try:
        return DECODER.decode(body if isinstance(body, str) else body.decode("utf-8-sig"))
    except RecursionError as exc:
        raise PayloadError("the request is nested too deep: instances are lists or objects of plain values") from exc
    except PayloadError:
        raise
    except ValueError as exc:  # JSONDecodeError, UnicodeDecodeError, and an integer of too many digits
        raise PayloadError(f"the request is not JSON: {shortened(str(exc))}") from exc


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object with these pairs. Raises PayloadError if a key occurs twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise PayloadError(f"key {shown(repeated)} occurs twice in one object: give each key once")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _of_instances(document: Mapping[str, object], request: Request) -> Query:
    """Return the query of `{"instances": […], "dataset": …, …}`; `parameters` may hold the options as well."""
    _refuse_unknown(document, INSTANCES_KEYS)
    if "instances" not in document:
        raise PayloadError(f"key 'instances' is missing; found {listed(sorted(document))}")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise PayloadError(f"'instances' is {kind(instances)}: give a list, with one list or object for each instance")
    options = {**_parameters(document), **document} if "parameters" in document else document
    return _with_options(Rows(instances), "instances", options, document, request)


def _of_inputs(document: Mapping[str, object], request: Request) -> Query:
    """Return the query of the Open Inference protocol: named tensors in `inputs`, options in `parameters`."""
    _refuse_unknown(document, INPUTS_KEYS)
    return _with_options(table_of(document["inputs"]), "inputs", _parameters(document), document, request)


def _with_options(
    instances: Instances,
    protocol: Protocol,
    options: Mapping[str, object],
    document: Mapping[str, object],
    request: Request,
) -> Query:
    return Query(
        instances,
        protocol,
        _dataset(options.get("dataset", request.dataset)),
        _interval(options.get("interval")),
        _flag("extrapolation", options.get("extrapolation", False)),
        _flag("explanations", options.get("explanations", request.explain)),
        _identifier(document.get("id")),
    )


def _parameters(document: Mapping[str, object]) -> Mapping[str, object]:
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        raise PayloadError(f"'parameters' is {kind(parameters)}: give an object with any of {sorted(OPTIONS)}")
    _refuse_unknown(parameters, OPTIONS)
    return parameters


def _refuse_unknown(document: Mapping[str, object], allowed: frozenset[str]) -> None:
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


def _table_of_csv(text: str) -> Table:
    """Return the columns of a CSV text; a first line without any number is a header."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as exc:
        raise PayloadError(f"the request is not CSV: {shortened(str(exc))}") from exc
    header = None if not lines or any(map(_is_number, lines[0])) else lines.pop(0)
    width = len(header) if header is not None else len(lines[0]) if lines else 0
    ragged = next((row for row, line in enumerate(lines) if len(line) != width), None)
    if ragged is not None:
        raise PayloadError(f"instance {ragged}: the line has {len(lines[ragged])} cells, and the first one has {width}")
    if header is not None and len(set(header)) != len(header):
        raise PayloadError(f"the header repeats a name: {listed(header)}")
    columns = tuple(tuple(cell if cell.strip() else None for cell in column) for column in zip(*lines, strict=True))
    return Table(None if header is None else tuple(header), columns or ((),) * width, len(lines))


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number, NaN or true or false, which name no column."""
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in ("true", "false")
    return True


def _text(body: bytes | bytearray | str) -> str:
    try:
        return body if isinstance(body, str) else body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PayloadError(f"the request is not UTF-8: {exc.reason} at byte {exc.start}") from exc
