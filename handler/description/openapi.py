"""The OpenAPI document of a collection: its addresses, and a schema of an instance for each model card.

Source: OpenAPI Specification 3.1.1, https://spec.openapis.org/oas/v3.1.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.fleet import Fleet
from ..requests.limits import MAX_INSTANCES
from .description import example
from .listing import LIMIT, MAX_LIMIT
from .schemas import instance_schema, ranges_of

OPENAPI = "openapi.json"  # in place of a dataset; one of this name is described by the parameter `dataset`
MAX_CARDS = 20  # whose instances have a schema each; with more, an instance is any object
DATASETS_NAMED = 3
ANY_INSTANCE = {"type": "object", "description": "The features by name; GET an address of a dataset for its schema."}
OF_LIST = {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}, "minItems": 1}
OPTIONS: dict[str, Any] = {
    "interval": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "examples": [0.95]},
    "extrapolation": {"type": "boolean", "default": False},
    "explanations": {"type": "boolean", "default": False},
    "extra": {"type": "string", "enum": ["error", "ignore"], "default": "error"},
}
PAGING: dict[str, Any] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT},
    "after": {"type": "string", "description": "`next` of the page before."},
    "prefix": {"type": "string"},
    "contains": {"type": "string"},
}
TEXT = {"type": "string"}
NULLABLE_BOUNDS = {
    "type": "array",
    "items": {
        "anyOf": [{"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}, {"type": "null"}]
    },
}

Json = dict[str, Any]


def openapi(fleet: Fleet) -> Json:
    """Return the OpenAPI 3.1 document of a collection."""
    of_cards = _instances(fleet)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Predictions of {fleet.collection}",
            "version": str(fleet.version),
            "description": f"{fleet.num_datasets} datasets, each with a linear model.",
        },
        "security": [{"key": []}],
        "paths": _paths(fleet),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "The inference key."}},
            "schemas": {**of_cards, "Request": _request(list(of_cards)), **_schemas()},
        },
    }


def _paths(fleet: Fleet) -> Json:
    """Return the addresses that every host has."""
    name, shown = fleet.collection, example(fleet)
    post = _post("predict", "Predictions", shown)
    dataset = {"name": "dataset", "in": "path", "required": True, "schema": TEXT, "example": fleet.first}
    options = _query({"dataset": TEXT, **OPTIONS})
    whole = f"/predictions/{name}/{fleet.version}"
    return {
        f"/predictions/{name}": {"get": _get("describe", "The collection, with its first datasets"), "post": post},
        f"{whole}/{OPENAPI}": {"get": _get("openapi", "This document")},
        f"{whole}/{{dataset}}": {
            "parameters": [dataset],
            "get": _get("describeDataset", "A dataset: its features, its model, and the schema of an instance"),
            "post": _post("predictDataset", "Predictions of one dataset"),
        },
        f"/explanations/{name}": {"post": _post("explain", "Predictions with explanations")},
        f"/models/{name}/invoke": {
            "get": _get("listDatasets", "A page of datasets, or a dataset") | {"parameters": _query(PAGING | _named())},
            "post": _post("invoke", "Predictions, with options in the address") | {"parameters": options},
        },
        f"/v1/models/{name}:predict": {"post": _post("predictV1", "Predictions, in KServe's V1 protocol")},
        f"/v2/models/{name}/infer": {"post": _post("inferV2", "Predictions, in the Open Inference protocol")},
    }


def _named() -> Json:
    return {"dataset": {**TEXT, "description": "A dataset to describe; then no other parameter."}}


def _query(schemas: Json) -> list[Json]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]


def _get(operation: str, summary: str) -> Json:
    body = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": {"description": "The description", "content": body}, **_errors()},
    }


def _post(operation: str, summary: str, shown: Json | None = None) -> Json:
    asked = {} if shown is None else {"example": shown["request"]}
    answered = {} if shown is None else {"example": shown["answer"]}
    return {
        "operationId": operation,
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("Request"), **asked},
                "text/csv": {"schema": {**TEXT, "description": "Rows, below a header of names or without one."}},
            },
        },
        "responses": {
            "200": {
                "description": "An answer for each instance",
                "content": {
                    "application/json": {"schema": _ref("Answer"), **answered},
                    "text/csv": {"schema": {**TEXT, "description": "On request: `Accept: text/csv`."}},
                },
            },
            **_errors(),
        },
    }


def _errors() -> Json:
    said = {
        "400": "The request is wrong, or the key",
        "404": "The collection, the version or the dataset does not exist",
        "413": "The body is too large",
        "503": "The server is busy, or about to end: try again",
    }
    body = {"application/json": {"schema": _ref("Error")}}
    return {status: {"description": description, "content": body} for status, description in said.items()}


def _instances(fleet: Fleet) -> Json:
    """Return a schema of an instance for each model card, or one for all."""
    if len(fleet.stacks) > MAX_CARDS:
        return {"Instance": ANY_INSTANCE}
    several = fleet.num_datasets > 1
    schemas: Json = {}
    for number, stack in enumerate(fleet.stacks):
        schema = instance_schema(stack, ranges_of(stack), names_dataset=several)
        mine = np.flatnonzero(fleet.stack_n == number)[:DATASETS_NAMED].tolist()
        named = ", ".join(repr(fleet.index.names[at]) for at in mine)
        schema["description"] += f" Of {len(stack.weight_md)} datasets, such as {named}."
        schemas[f"Instance{number + 1}" if len(fleet.stacks) > 1 else "Instance"] = schema
    return schemas


def _request(instances: list[str]) -> Json:
    """Return the schema of a request: instances with options; or tensors, or what MLflow's clients send."""
    item = {"anyOf": [*map(_ref, instances), OF_LIST]}
    names = {"anyOf": [TEXT, {"type": "array", "items": TEXT}], "description": "For all instances, or for each."}
    ours = {
        "type": "object",
        "properties": {
            "instances": {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_INSTANCES},
            "dataset": names,
            **OPTIONS,
            "parameters": {"type": "object", "description": "These options, for clients that send them there."},
        },
        "required": ["instances"],
    }
    others = [{"type": "object", "required": [key]} for key in ("inputs", "dataframe_split", "dataframe_records")]
    return {"anyOf": [ours, *others]}


def _schemas() -> Json:
    texts = {"type": "array", "items": {"type": ["string", "null"]}}
    intervals = {
        "type": "object",
        "properties": {
            "level": {"type": "number"},
            "confidence": NULLABLE_BOUNDS,
            "prediction": NULLABLE_BOUNDS,
            "reasons": {**texts, "description": "Why an instance has none; there only if one lacks it."},
        },
    }
    answer = {
        "predictions": {"type": "array", "items": {"type": "number"}},
        "model": {"type": "object", "properties": {"collection": TEXT, "version": {"type": "integer"}, "dataset": {}}},
        "intervals": intervals,
        "extrapolations": {"type": "array", "items": {"type": "array", "items": {"type": "object"}}},
        "explanations": {"type": "array", "items": {"type": "object"}},
        "warnings": {"type": "array", "items": TEXT},
    }
    error = {"code": {"type": "integer"}, "type": TEXT, "message": TEXT, "error": TEXT}
    return {
        "Answer": {"type": "object", "properties": answer, "description": "In the protocol of the request."},
        "Error": {"type": "object", "properties": error, "required": ["code", "message"]},
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
