"""The overlays as kustomize builds them: references, users, volumes, probes, ends, network policies and schedules."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra_files import INFRA, containers_of, parsed, pods
from tests.kustomize import OVERLAYS, build, built, one, overlay, programs

Manifests = list[dict[str, Any]]
FOLDER = "/var/lib/gridline"
END_S = 20  # for the processes of a server, after the requests
MANAGEMENT = 8081


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return built(overlay(request.param))


@pytest.fixture
def production() -> Manifests:
    return built(overlay("production"))


def templates(manifests: Manifests) -> Iterator[dict[str, Any]]:
    """Yield every pod template: its labels and its pod."""

    def within(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "containers" in value.get("spec", {}) and "metadata" in value:
                yield value
            for each in value.values():
                yield from within(each)
        elif isinstance(value, list):
            for each in value:
                yield from within(each)

    for document in manifests:
        yield from within(document)


def labels_match(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items()


@pytest.mark.parametrize("name", OVERLAYS)
def test_programs_of_kustomize_build_the_same(name: str) -> None:
    results = [build(program, overlay(name)) for program in programs()]
    assert all(each == results[0] for each in results)


def test_objects_have_unique_names_and_one_namespace(manifests: Manifests) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))
    assert {each["metadata"].get("namespace", "gridline") for each in manifests} == {"gridline"}


def test_pods_name_service_accounts_and_configmaps_that_are_there(manifests: Manifests) -> None:
    accounts = {each["metadata"]["name"] for each in manifests if each["kind"] == "ServiceAccount"}
    maps = {each["metadata"]["name"]: set(each["data"]) for each in manifests if each["kind"] == "ConfigMap"}
    for document in manifests:
        for pod in pods(document):
            assert pod["serviceAccountName"] in accounts
            volumes = {each["name"]: each for each in pod["volumes"]}
            used = {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume}
            used |= {entry["configMapRef"]["name"] for each in pod["containers"] for entry in each.get("envFrom", [])}
            assert used <= set(maps)
    assert maps["gridline-job"] == {"job.yaml", "plant_richness.tsv"}


def test_only_pods_that_ask_kubernetes_have_a_token(manifests: Manifests) -> None:
    for each in manifests:
        assert each["kind"] != "ServiceAccount" or each["automountServiceAccountToken"] is False
    for template in templates(manifests):
        asks = template["metadata"]["labels"].get("gridline/api") == "true"
        assert template["spec"]["automountServiceAccountToken"] is asks


def test_every_container_is_locked_and_writes_one_folder(manifests: Manifests) -> None:
    for document in manifests:
        for pod in pods(document):
            user = pod["securityContext"]
            assert (user["runAsNonRoot"], user["runAsUser"], user["runAsGroup"], user["fsGroup"]) == (True, *[1000] * 3)
            assert user["seccompProfile"] == {"type": "RuntimeDefault"}
            volumes = {each["name"]: each for each in pod["volumes"]}
            for container in pod["containers"]:
                locked = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
                assert container["securityContext"] == {**locked, "capabilities": {"drop": ["ALL"]}}
                mounts = container["volumeMounts"]
                assert [each["mountPath"] for each in mounts if not each.get("readOnly")] == [FOLDER]
                assert all(each["name"] in volumes for each in mounts)
                assert volumes[mounts[0]["name"]]["emptyDir"]["sizeLimit"]


def test_every_container_requests_cpu_and_memory_and_has_a_limit_of_memory(manifests: Manifests) -> None:
    for document in manifests:
        for pod in pods(document):
            for container in pod["containers"]:
                resources = container["resources"]
                assert set(resources["requests"]) == {"cpu", "memory"} and "memory" in resources["limits"]


def test_servers_have_the_time_that_their_end_takes(manifests: Manifests) -> None:
    [pod] = pods(one(manifests, "Deployment", "gridline-serve"))
    serve = next(each for each in pod["containers"] if each["name"] == "serve")
    command, seconds = serve["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    grace_s = parsed(serve["args"][1:])["grace_s"]
    assert pod["terminationGracePeriodSeconds"] >= float(seconds) + grace_s + END_S


def test_probes_ask_the_status_port_for_what_they_mean(manifests: Manifests) -> None:
    [pod] = pods(one(manifests, "Deployment", "gridline-serve"))
    serve = next(each for each in pod["containers"] if each["name"] == "serve")
    asked = {name: serve[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {name: each["path"] for name, each in asked.items()} == {
        "startupProbe": "/readyz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    assert {each["port"] for each in asked.values()} == {"status"}
    assert all(serve[name]["timeoutSeconds"] >= 3 for name in asked)  # docs/monitoring.md


def test_follower_is_live_while_it_looks_at_the_store(manifests: Manifests, tmp_path: Path) -> None:
    [serve, follower] = containers_of(INFRA, one(manifests, "Deployment", "gridline-serve"))
    [_, *words] = follower.raw["livenessProbe"]["exec"]["command"]
    options = parsed(serve.words[1:])
    place = f"{options['folder']}/control/followers/{options['collection']}.json"
    assert place in words[-1]
    codes = []
    for last_check in (time.time() - 60, time.time() - 3600):
        (tmp_path / "seen.json").write_text(json.dumps({"last_check": last_check}))
        command = [sys.executable, *words[:-1], words[-1].replace(place, str(tmp_path / "seen.json"))]
        codes.append(subprocess.run(command, timeout=60, check=False).returncode)
    assert codes == [0, 1]


def test_several_servers_take_the_same_keys(manifests: Manifests) -> None:
    [serve, _] = containers_of(INFRA, one(manifests, "Deployment", "gridline-serve"))
    options = parsed(serve.words[1:])
    scaled = any(each["kind"] == "HorizontalPodAutoscaler" for each in manifests)
    if scaled or one(manifests, "Deployment", "gridline-serve")["spec"].get("replicas", 1) > 1:
        assert options["host_with"] == "uvicorn"
        assert serve.mounts[str(options["keys"].parent)] == "keys"


def test_services_reach_ports_of_pods_that_are_there(manifests: Manifests) -> None:
    for service in [each for each in manifests if each["kind"] == "Service"]:
        chosen = [
            template
            for template in templates(manifests)
            if service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        ]
        names = {port["name"] for each in chosen for one in each["spec"]["containers"] for port in one.get("ports", [])}
        assert service["spec"]["ports"] and all(port["targetPort"] in names for port in service["spec"]["ports"])


def test_network_policies_deny_and_open_only_what_is_meant(manifests: Manifests) -> None:
    policies = [each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    for policy in policies:
        chosen = [
            each for each in templates(manifests) if labels_match(policy["podSelector"], each["metadata"]["labels"])
        ]
        assert chosen, policy
        for rule in policy.get("ingress", []):
            numbers = {port["port"] for port in rule.get("ports", [])}
            assert MANAGEMENT not in numbers
            assert rule["from"], "a rule without `from` lets everybody in"
            opened = {
                port["containerPort"]
                for each in chosen
                for one in each["spec"]["containers"]
                for port in one.get("ports", [])
            }
            assert numbers <= opened


def test_every_pod_that_uses_the_store_may_reach_it(manifests: Manifests) -> None:
    for template in templates(manifests):
        uses = any("AWS_SECRET_ACCESS_KEY" in str(each.get("env")) for each in template["spec"]["containers"])
        assert (template["metadata"]["labels"].get("gridline/store") == "true") is uses


def test_autoscaler_and_budget_are_of_the_deployment(production: Manifests) -> None:
    deployment = one(production, "Deployment", "gridline-serve")
    scaler = one(production, "HorizontalPodAutoscaler", "gridline-serve")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gridline-serve"}
    assert "replicas" not in deployment["spec"] and scaler["minReplicas"] > 1
    budget = one(production, "PodDisruptionBudget", "gridline-serve")["spec"]
    assert budget["selector"] == deployment["spec"]["selector"]
    [metric] = scaler["metrics"]
    names = {each["name"] for each in deployment["spec"]["template"]["spec"]["containers"]}
    assert metric["containerResource"]["container"] in names
