"""Deployment against a registry that fails at any step: what is left is what was there before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model_store.archives.archive import Archive
from model_store.torchserve.deployment import Deployment, Target, deploy, serves, undeploy
from model_store.torchserve.errors import DeploymentError, ServerError
from model_store.torchserve.management import RegisteredVersion, Worker

EXAMPLE: dict[str, Any] = {"request": {"instances": [[1]]}, "answer": {"predictions": [2.0]}}
MODEL = "plants"


class FakeRegistry:
    """A TorchServe's registry: versions with their files and numbers of workers. A call named in `fails` is refused."""

    def __init__(self, prediction: float = 2.0) -> None:
        self.files: dict[str, str] = {}
        self.workers: dict[str, int] = {}
        self.default: str | None = None
        self.prediction = prediction
        self.fails: set[tuple[str, str]] = set()
        self.calls: list[tuple[str, str]] = []
        self.pending: list[int] = []

    def _call(self, verb: str, version: str) -> None:
        self.calls.append((verb, version))
        if (verb, version) in self.fails:
            self.fails.discard((verb, version))
            raise ServerError(f"{verb} of {version} failed")

    def versions(self, model: str) -> tuple[RegisteredVersion, ...]:
        return tuple(self.describe(model, version) for version in self.files)

    def default_version(self, model: str) -> str | None:
        return self.default

    def describe(self, model: str, version: str) -> RegisteredVersion:
        workers = tuple(Worker(str(i), i, is_ready=True) for i in range(self.workers[version]))
        pending = self.pending.pop() if self.pending else 0
        return RegisteredVersion(version, self.files[version], len(workers), workers, pending)

    def describe_through_worker(self, model: str, version: str) -> dict[str, Any]:
        self._call("describe", version)
        example = {"request": EXAMPLE["request"], "answer": {"predictions": [self.prediction]}}
        return {"customizedMetadata": {"example": example}}

    def register(self, file_name: str, workers: int) -> None:
        version = file_name.split("-")[1]
        self._call("register", version)
        self.files[version], self.workers[version] = file_name, workers
        self.default = self.default or version

    def set_default(self, model: str, version: str) -> None:
        self._call("set_default", version)
        self.default = version

    def scale(self, model: str, version: str, workers: int) -> None:
        self._call("scale", version)
        self.workers[version] = workers

    def unregister(self, model: str, version: str) -> None:
        self._call("unregister", version)
        if version == self.default and len(self.files) > 1:
            raise ServerError("the default version can't be removed")
        del self.files[version], self.workers[version]
        self.default = self.default if self.files else None


def archive_of(version: int, folder: Path, digest: str = "a") -> Archive:
    path = folder / f"archive-{version}"
    path.write_bytes(b"bytes")
    return Archive(MODEL, version, path, digest * 64)


def target_of(registry: FakeRegistry, folder: Path, **options: Any) -> Target:
    return Target(registry, folder / "model-store", drain_s=0.0, **options)  # type: ignore[arg-type]


def roll(registry: FakeRegistry, folder: Path, version: int, **options: Any) -> Deployment:
    return deploy(target_of(registry, folder, **options), archive_of(version, folder), EXAMPLE)


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "model-store").iterdir())


def test_deploy_brings_up_checks_switches_and_retires_in_this_order(tmp_path: Path) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1)
    registry.calls.clear()
    done = roll(registry, tmp_path, 2)
    assert done == Deployment(MODEL, 2, "1", changed=True)
    assert registry.calls == [("register", "2"), ("describe", "2"), ("set_default", "2"), ("scale", "1")]
    assert registry.workers == {"1": 0, "2": 1}


STEPS = [("register", "2"), ("describe", "2"), ("set_default", "2"), ("scale", "1")]


@pytest.mark.parametrize("step", STEPS, ids=[verb for verb, _ in STEPS])
def test_a_failure_at_any_step_leaves_the_old_version_and_none_of_the_new(
    tmp_path: Path, step: tuple[str, str]
) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1, workers=2)
    before = stored(tmp_path)
    registry.fails = {step}
    with pytest.raises(DeploymentError, match=r"version 2 of 'plants' is not deployed: .*; version 1 serves as before"):
        roll(registry, tmp_path, 2, workers=2)
    assert (registry.default, registry.workers) == ("1", {"1": 2})
    assert stored(tmp_path) == before


def test_a_wrong_prediction_is_a_failure(tmp_path: Path) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1)
    registry.prediction = 2.001
    with pytest.raises(DeploymentError, match=r"it predicts 2\.001"):
        roll(registry, tmp_path, 2)
    assert registry.default == "1"
    assert list(registry.files) == ["1"]


def test_a_first_deployment_that_fails_leaves_nothing(tmp_path: Path) -> None:
    registry = FakeRegistry(prediction=9.0)
    with pytest.raises(DeploymentError, match="no other version was there"):
        roll(registry, tmp_path, 1)
    assert registry.files == {}
    assert stored(tmp_path) == []


def test_a_failed_rollback_keeps_the_kept_version_registered(tmp_path: Path) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1)
    roll(registry, tmp_path, 2)
    registry.fails = {("describe", "1")}
    with pytest.raises(DeploymentError, match="version 2 serves as before"):
        roll(registry, tmp_path, 1)
    assert (registry.default, registry.workers) == ("2", {"1": 0, "2": 1})


def test_what_could_not_be_undone_is_said(tmp_path: Path) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1)
    registry.fails = {("describe", "2"), ("unregister", "2")}
    with pytest.raises(DeploymentError, match="and undoing it failed: unregister of 2 failed"):
        roll(registry, tmp_path, 2)
    assert registry.default == "1"


def test_rolling_back_to_a_kept_version_gives_it_workers_again(tmp_path: Path) -> None:
    registry = FakeRegistry()
    for version in (1, 2, 1):
        roll(registry, tmp_path, version)
    assert ("register", "1") in registry.calls
    assert registry.calls.count(("register", "1")) == 1
    assert (registry.default, registry.workers) == ("1", {"1": 1, "2": 0})


def test_only_the_last_versions_are_kept(tmp_path: Path) -> None:
    registry = FakeRegistry()
    removed = [roll(registry, tmp_path, version, keep=3).removed for version in range(1, 6)]
    assert removed == [(), (), (), ("1",), ("2",)]
    assert sorted(registry.files) == ["3", "4", "5"]
    assert len(stored(tmp_path)) == 3


def test_deploying_what_serves_changes_nothing(tmp_path: Path) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1)
    registry.calls.clear()
    assert roll(registry, tmp_path, 1).changed is False
    assert registry.calls == []
    assert serves(target_of(registry, tmp_path), MODEL, 1)
    assert not serves(target_of(registry, tmp_path), MODEL, 2)


def test_other_content_under_a_registered_version_is_refused(tmp_path: Path) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1)
    with pytest.raises(DeploymentError, match="undeploy it first"):
        deploy(target_of(registry, tmp_path), archive_of(1, tmp_path, "b"), EXAMPLE)


def test_an_old_version_keeps_its_workers_while_requests_wait(tmp_path: Path) -> None:
    registry = FakeRegistry()
    roll(registry, tmp_path, 1)
    seen: list[int] = []
    scale = registry.scale
    registry.scale = lambda model, version, workers: (
        seen.append(len(registry.pending)),
        scale(model, version, workers),
    )[1]  # type: ignore[method-assign]
    registry.pending = [1] * 6
    deploy(Target(registry, tmp_path / "model-store", drain_s=0.05), archive_of(2, tmp_path), EXAMPLE)  # type: ignore[arg-type]
    assert seen == [0]


def test_undeploy_removes_the_default_last_and_its_files(tmp_path: Path) -> None:
    registry = FakeRegistry()
    for version in (1, 2):
        roll(registry, tmp_path, version)
    assert undeploy(target_of(registry, tmp_path), MODEL) == ("1", "2")
    assert registry.files == {}
    assert stored(tmp_path) == []
