"""Read a JSON body: `instances`, the tensors of the Open Inference protocol, or what MLflow sends."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import PayloadError
from ..models.fleet import Fleet
from ..wording import kind, listed
from . import mlflow, open_inference
from .binary_tensors import HEADER, split
from .csv_body import text_of
from .instances import Rows
from .json_text import value_of_json
from .options import OPTIONS, options_of, query_of, refuse_unknown
from .payload import Query, Request

NO_TAIL = memoryview(b"")
MLFLOW = frozenset(mlflow.READERS)
INSTANCES_KEYS = OPTIONS | {"instances", "id", "parameters", "signature_name"}


def read(request: Request, fleet: Fleet) -> Query:
    """Return the query of a JSON body. Raises PayloadError if it is none."""
    body, tail = request.body, NO_TAIL
    if HEADER in request.headers and isinstance(body, (bytes, bytearray)):
        body, tail = split(body, request.headers[HEADER])
    document = value_of_json(text_of(body)) if isinstance(body, (bytes, bytearray, str)) else body
    if not isinstance(document, dict):
        raise PayloadError(f'the request is {kind(document)}: send an object such as {{"instances": [[…], …]}}')
    if "inputs" in document and (tail or open_inference.is_tensors(document["inputs"])):
        return open_inference.read(document, request, tail, fleet.most_features)
    if tail:
        raise PayloadError("bytes after the JSON are tensors of 'inputs': send {'inputs': [{name, shape, datatype}]}")
    if not MLFLOW.isdisjoint(document):
        return mlflow.read(document, request, fleet.most_features)
    return _of_instances(document, request)


def _of_instances(document: Mapping[str, object], request: Request) -> Query:
    """Return the query of `{"instances": […], "dataset": …, …}`; `parameters` may hold the options as well."""
    if {"columns", "data"} <= document.keys():
        raise PayloadError("the request is a DataFrame: send it as {'dataframe_split': {'columns': […], 'data': […]}}")
    refuse_unknown(document, INSTANCES_KEYS)
    if "instances" not in document:
        raise PayloadError(f"key 'instances' is missing; found {listed(sorted(document))}")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise PayloadError(f"'instances' is {kind(instances)}: give a list, with one list or object for each instance")
    return query_of(Rows(instances), "instances", options_of(document), document, request)
