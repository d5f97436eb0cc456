"""What Kubernetes would refuse in a manifest: by its own schemas, and by those of KubeRay and KServe, strictly."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

OLDEST, NEWEST = "1.30.0", "1.37.0"  # of Kubernetes: docs/kubernetes.md names the oldest
OF_KUBERNETES = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
OF_OTHERS = Path(__file__).parent / "data" / "schemas"
DEFINITIONS = "/api/_definitions.json"


def faults(document: dict[str, Any], version: str = NEWEST) -> list[str]:
    """Return what a version of Kubernetes refuses in a manifest: a line for each fault, with its place.

    Raises FileNotFoundError for a kind that nobody has a schema of.
    """
    found = _validator(document["apiVersion"], document["kind"].lower(), version).iter_errors(document)
    return [f"{'/'.join(map(str, error.path))}: {error.message[:300]}" for error in found]


@cache
def _validator(api_version: str, kind: str, version: str) -> Draft202012Validator:
    own = OF_KUBERNETES / f"v{version}-local-strict"
    name = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    path = own / f"{kind}-{name}.json"
    if not path.exists():
        name = f"{kind}-{api_version.replace('/', '-')}.json"
        path = next(iter(OF_OTHERS.rglob(name)), OF_OTHERS / name)
    return Draft202012Validator(json.loads(path.read_text()), registry=_registry(own))


@cache
def _registry(own: Path) -> Registry[Any]:
    definitions = Resource.from_contents(json.loads((own / "_definitions.json").read_text()))
    registry: Registry[Any] = Registry()
    return registry.with_resource(DEFINITIONS, definitions)
