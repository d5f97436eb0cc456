"""A check of OpenAPI documents, by the JSON Schema of their specification.

Source of tests/data/openapi/schema-3.1.json: https://spec.openapis.org/oas/3.1/schema/2022-10-07 (Apache License 2.0).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema

SPECIFICATION = Path(__file__).parents[1] / "data" / "openapi" / "schema-3.1.json"


def assert_valid(document: dict[str, Any]) -> None:
    """Assert that a document is OpenAPI 3.1, that its schemas are schemas, and that its references lead somewhere."""
    jsonschema.Draft202012Validator(json.loads(SPECIFICATION.read_text())).validate(document)
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"#/components/schemas/([^"]*)"', json.dumps(document)))
    assert references <= schemas.keys()
    operations = [
        method["operationId"]
        for path in document["paths"].values()
        for method in path.values()
        if isinstance(method, dict) and "operationId" in method
    ]
    assert len(operations) == len(set(operations))


def assert_fits(document: dict[str, Any], name: str, value: object) -> None:
    """Assert that a value fits a schema of a document."""
    jsonschema.validate(value, {**document, "$ref": f"#/components/schemas/{name}"})
