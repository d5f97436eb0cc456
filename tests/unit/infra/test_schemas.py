"""Every manifest passes the schemas of Kubernetes, KubeRay and KServe, strictly, as a file and in each overlay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.infra_files import INFRA, manifests, named
from tests.kustomize import OVERLAYS, built, overlay
from tests.schemas import NEWEST, OLDEST, faults

PATCHES = {"overlays"}  # are no whole manifests
WHOLE = [(path, each) for path, each in manifests() if not PATCHES & set(path.parts)]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    ("path", "document"), WHOLE, ids=lambda value: named(value) if isinstance(value, Path) else value["kind"]
)
def test_every_manifest_passes_its_schema(path: Path, document: dict[str, Any], version: str) -> None:
    assert faults(document, version) == [], named(path)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_manifest_of_an_overlay_passes_its_schema(name: str, version: str) -> None:
    found = {f"{each['kind']} {each['metadata']['name']}": faults(each, version) for each in built(overlay(name))}
    assert {where: lines for where, lines in found.items() if lines} == {}


def manifest(kind: str, below: str) -> dict[str, Any]:
    return next(each for path, each in manifests(INFRA / below) if each["kind"] == kind)


@pytest.mark.parametrize(
    ("kind", "below", "change", "said"),
    [
        ("Deployment", "kubernetes/base", {"replica": 2}, "'replica' was unexpected"),
        ("Deployment", "kubernetes/base", {"replicas": "two"}, "'two' is not of type"),
        ("RayCluster", "kubernetes/base", {"rayVersionn": "2.60.0"}, "'rayVersionn' was unexpected"),
        ("RayCluster", "kubernetes/base", {"authOptions": {"mode": "tokens"}}, "'tokens' is not one of"),
        (
            "RayCluster",
            "kubernetes/base",
            {"headGroupSpec": {"template": {"spec": {"containres": []}}}},
            "'containres'",
        ),
        ("RayJob", "schedules", {"entrypoints": "gridline"}, "'entrypoints' was unexpected"),
        ("CronJob", "schedules", {"timezone": "UTC"}, "'timezone' was unexpected"),
        ("ServingRuntime", "kubernetes/kserve", {"containers": [{"nam": "a"}]}, "'nam' was unexpected"),
        ("InferenceService", "kubernetes/kserve", {"predictor": {"modell": {}}}, "'modell' was unexpected"),
    ],
)
def test_faults_finds_wrong_names_and_values(kind: str, below: str, change: dict[str, Any], said: str) -> None:
    document = manifest(kind, below)
    changed = {**document, "spec": {**document["spec"], **change}}
    assert any(said in line for line in faults(changed)), faults(changed)
