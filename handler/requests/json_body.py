"""Read a JSON body: `instances`, or `inputs` of the Open Inference protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import PayloadError
from ..wording import kind, listed, shortened, shown
from .instances import Rows
from .open_inference import table_of
from .options import OPTIONS, parameters_of, query_of, refuse_unknown
from .payload import Query, Request

INSTANCES_KEYS = OPTIONS | {"instances", "id", "parameters", "signature_name"}
INPUTS_KEYS = frozenset({"inputs", "outputs", "id", "parameters"})


def read(request: Request) -> Query:
    """Return the query of a JSON body. Raises PayloadError if it is none."""
    body = request.body
    document = _json(body) if isinstance(body, (bytes, bytearray, str)) else body
    if not isinstance(document, dict):
        raise PayloadError(f'the request is {kind(document)}: send an object such as {{"instances": [[…], …]}}')
    return _of_inputs(document, request) if "inputs" in document else _of_instances(document, request)


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
    refuse_unknown(document, INSTANCES_KEYS)
    if "instances" not in document:
        raise PayloadError(f"key 'instances' is missing; found {listed(sorted(document))}")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise PayloadError(f"'instances' is {kind(instances)}: give a list, with one list or object for each instance")
    options = {**parameters_of(document), **document} if "parameters" in document else document
    return query_of(Rows(instances), "instances", options, document, request)


def _of_inputs(document: Mapping[str, object], request: Request) -> Query:
    """Return the query of the Open Inference protocol: named tensors in `inputs`, options in `parameters`."""
    refuse_unknown(document, INPUTS_KEYS)
    return query_of(table_of(document["inputs"]), "inputs", parameters_of(document), document, request)
