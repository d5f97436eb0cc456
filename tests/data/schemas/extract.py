"""Write the schema of a CustomResourceDefinition as the tests read it: CRD.yaml VERSION > KIND.json.

Descriptions are left out, and a name that the schema does not have is refused, as Kubernetes' strict validation does.
A pod template, a container or a volume becomes a reference to Kubernetes' own schema. What no file of infra/ uses of an
InferenceService is left out too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

KEPT = {"type", "properties", "items", "required", "enum", "additionalProperties", "anyOf", "pattern", "minimum"}
KEPT |= {"maximum", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"}
UNUSED = {"explainer", "transformer", "workerSpec", "status"}
OF_KUBERNETES = {
    "core.v1.PodTemplateSpec": {"metadata", "spec"},
    "core.v1.Container": {"image", "command", "volumeMounts", "ports", "lifecycle"},
    "core.v1.Volume": {"configMap", "emptyDir", "secret"},
    "core.v1.Affinity": {"nodeAffinity", "podAffinity"},
    "core.v1.EnvVar": {"name", "value", "valueFrom"},
    "core.v1.PodSecurityContext": {"fsGroup", "sysctls"},
    "core.v1.SecurityContext": {"capabilities", "privileged"},
    "core.v1.Probe": {"httpGet", "periodSeconds"},
    "core.v1.Lifecycle": {"preStop", "postStart"},
    "core.v1.TopologySpreadConstraint": {"maxSkew", "topologyKey"},
    "networking.v1.NetworkPolicyEgressRule": {"to", "ports"},
    "networking.v1.NetworkPolicyIngressRule": {"from", "ports"},
}


def schema(value: Any, where: str = "") -> Any:
    """Return a schema without what the tests don't ask."""
    if not isinstance(value, dict):
        return value
    fields = value.get("properties", {})
    if kind := _of_kubernetes(fields, where):
        return {"$ref": f"/api/_definitions.json#/$defs/io.k8s.api.{kind}"}
    kept = {key: each for key, each in value.items() if key in KEPT}
    if fields:
        kept["properties"] = {name: schema(each, name) for name, each in fields.items() if _is_used(name, each)}
        if "x-kubernetes-preserve-unknown-fields" not in value:
            kept["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = schema(kept[key], where)
    if "anyOf" in kept:
        kept["anyOf"] = [schema(each) for each in kept["anyOf"]]
    return kept


def _of_kubernetes(fields: dict[str, Any], where: str) -> str | None:
    if where in {"", "spec", "model", "predictor"}:
        return None
    if {"metadata", "spec"} >= set(fields) and "containers" not in fields.get("spec", {}).get("properties", {}):
        return None
    return next((kind for kind, names in OF_KUBERNETES.items() if names <= set(fields)), None)


def _is_used(name: str, value: dict[str, Any]) -> bool:
    is_framework = name != "model" and {"protocolVersion", "storageUri", "image"} <= set(value.get("properties", {}))
    return name not in UNUSED and not is_framework


if __name__ == "__main__":
    definition = yaml.safe_load(Path(sys.argv[1]).read_text())["spec"]
    [version] = [each for each in definition["versions"] if each["name"] == sys.argv[2]]
    print(json.dumps(schema(version["schema"]["openAPIV3Schema"]), sort_keys=True, separators=(",", ":")))
