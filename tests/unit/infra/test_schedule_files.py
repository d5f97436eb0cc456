"""The schedules of Kubernetes: they never overlap, tell exit codes apart, and both ways to train do the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra_files import INFRA, containers_of, gridline_words
from tests.kustomize import OVERLAYS, built, one, overlay

Manifests = list[dict[str, Any]]


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return built(overlay(request.param))


def test_rayjob_makes_the_cluster_that_stands() -> None:
    manifests = built(INFRA / "kubernetes" / "base")
    cluster = one(manifests, "RayCluster", "gridline-ray")["spec"]
    made = one(manifests, "RayJob", "gridline-train")["spec"]["rayClusterSpec"]
    assert made == {key: value for key, value in cluster.items() if key != "upgradeStrategy"}


def test_schedules_never_overlap_end_and_tell_exit_codes_apart(manifests: Manifests) -> None:
    for schedule in [each["spec"] for each in manifests if each["kind"] == "CronJob"]:
        assert (schedule["concurrencyPolicy"], schedule["timeZone"]) == ("Forbid", "Etc/UTC")
        assert schedule["startingDeadlineSeconds"] and schedule["failedJobsHistoryLimit"]
        job = schedule["jobTemplate"]["spec"]
        assert job["backoffLimit"] and job["activeDeadlineSeconds"]
        moved, codes = (rule.get("onExitCodes") for rule in job["podFailurePolicy"]["rules"])
        assert moved is None, (
            "a pod that Kubernetes ends counts as no failure, whatever its code: the first rule that fits"
        )
        assert codes["containerName"] in {each["name"] for each in job["template"]["spec"]["containers"]}
        assert set(codes["values"]) in ({2}, {2, 3, 5}), "docs/schedules.md: all else is tried again"
        assert job["template"]["spec"]["restartPolicy"] == "Never", "a podFailurePolicy needs it"


def test_both_ways_to_train_run_the_same_command(manifests: Manifests) -> None:
    [submit] = containers_of(INFRA, one(manifests, "CronJob", "gridline-train"))
    [words] = gridline_words(submit.words)
    entrypoint = one(manifests, "RayJob", "gridline-train")["spec"]["entrypoint"].split()
    assert entrypoint == ["gridline", *words]
    assert " --working-dir /etc/gridline -- " in submit.words[-1]
    job = one(manifests, "RayJob", "gridline-train")["spec"]
    [submitter] = containers_of(INFRA, {"template": job["submitterPodTemplate"]})
    assert job["runtimeEnvYAML"] == "working_dir: /etc/gridline"
    assert submitter.mounts["/etc/gridline"] == submit.mounts["/etc/gridline"] == "job"


def test_schedule_of_rayjobs_may_create_them_and_nothing_else(manifests: Manifests) -> None:
    [rule] = one(manifests, "Role", "gridline-schedule")["rules"]
    assert rule == {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "list", "create"]}
    [subject] = one(manifests, "RoleBinding", "gridline-schedule")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "gridline-schedule", "namespace": "gridline"}


def test_ray_on_demand_has_one_schedule_and_no_standing_cluster() -> None:
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
