"""The overlays as kustomize builds them: references, users, volumes, probes, ends, network policies and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra_files import INFRA, containers_of, gridline_words, parsed, pods
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


def test_rayjob_makes_the_cluster_that_stands() -> None:
    manifests = built(INFRA / "kubernetes" / "base")
    cluster = one(manifests, "RayCluster", "gridline-ray")["spec"]
    made = one(manifests, "RayJob", "gridline-train")["spec"]["rayClusterSpec"]
    job = {"name": "job", "configMap": {"name": "gridline-job"}}
    head = made["headGroupSpec"]["template"]["spec"]
    head["volumes"].remove(job)
    head["containers"][0]["volumeMounts"].remove({"name": "job", "mountPath": "/etc/gridline", "readOnly": True})
    assert made == {key: value for key, value in cluster.items() if key != "upgradeStrategy"}


def test_schedules_never_overlap_end_and_tell_exit_codes_apart(manifests: Manifests) -> None:
    for schedule in [each["spec"] for each in manifests if each["kind"] == "CronJob"]:
        assert (schedule["concurrencyPolicy"], schedule["timeZone"]) == ("Forbid", "Etc/UTC")
        assert schedule["startingDeadlineSeconds"] and schedule["failedJobsHistoryLimit"]
        job = schedule["jobTemplate"]["spec"]
        assert job["backoffLimit"] and job["activeDeadlineSeconds"]
        [codes] = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
        assert codes["containerName"] in {each["name"] for each in job["template"]["spec"]["containers"]}
        assert 4 not in codes["values"], "a store or a cluster that is away is tried again"
        assert job["template"]["spec"]["restartPolicy"] == "Never", "a podFailurePolicy needs it"


def test_both_ways_to_train_run_the_same_command(manifests: Manifests) -> None:
    [submit] = containers_of(INFRA, one(manifests, "CronJob", "gridline-train"))
    [words] = gridline_words(submit.words)
    entrypoint = one(manifests, "RayJob", "gridline-train")["spec"]["entrypoint"].split()
    assert entrypoint == ["gridline", *(word.replace("job.yaml", "/etc/gridline/job.yaml") for word in words)]


def test_schedule_of_rayjobs_may_create_them_and_nothing_else(manifests: Manifests) -> None:
    [rule] = one(manifests, "Role", "gridline-schedule")["rules"]
    assert rule == {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "list", "create"]}
    [subject] = one(manifests, "RoleBinding", "gridline-schedule")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "gridline-schedule", "namespace": "gridline"}


def test_ray_on_demand_has_one_schedule_and_no_standing_cluster(tmp_path: Any) -> None:
    folder = INFRA / "kubernetes" / "overlays" / "ray-on-demand-of-a-test"
    text = "kind: Kustomization\nresources: [../production]\ncomponents: [../../components/ray-on-demand]\n"
    folder.mkdir()
    try:
        (folder / "kustomization.yaml").write_text(text)
        manifests = built(folder)
    finally:
        (folder / "kustomization.yaml").unlink()
        folder.rmdir()
    running = {
        each["metadata"]["name"]: each["spec"].get("suspend", False) for each in manifests if each["kind"] == "CronJob"
    }
    assert running == {"gridline-gc": False, "gridline-train-rayjob": False}
    assert "RayCluster" not in {each["kind"] for each in manifests}
