"""Deployment on a server that may fail at any step: what is left is what was there before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from handler.description.description import example
from model_store import open_ledger
from model_store.archives.archive import Archive
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.deployment.errors import DeploymentError, ServerError
from model_store.deployment.following import follow
from model_store.deployment.rollout import Deployment, Target, deploy, serves, undeploy
from model_store.ledger.ledger import Ledger
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.in_process import InProcessServer

MODEL = "plants"
REQUEST = {"dataset": "north", "instances": [[3, 1]]}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A store with five versions, each of which predicts one more than the one before."""
    made = open_ledger(str(tmp_path_factory.mktemp("store")))
    for shift in range(5):
        commit_models(made, MODEL, sample_stores(float(shift)))
    return made


@dataclass
class Bench:
    """A server without models, and the versions to roll out on it; a step that `fails` does so once."""

    server: InProcessServer
    archive: Callable[[int], Archive]
    ledger: Ledger
    calls: list[tuple[str, str]] = field(default_factory=list)
    fails: set[tuple[str, str]] = field(default_factory=set)

    def before(self, verb: str, version: str) -> None:
        self.calls.append((verb, version))
        if (verb, version) in self.fails:
            self.fails.discard((verb, version))
            raise ServerError(f"{verb} of {version} failed")

    def target(self, **options: Any) -> Target:
        return Target(self.server, **{"drain_s": 0.0} | options)

    def roll(self, version: int, **options: Any) -> Deployment:
        expected = example(fleet_of_version(self.ledger.version(MODEL, version)))
        return deploy(self.target(**options), self.archive(version), expected)

    def state(self) -> tuple[str | None, dict[str, int]]:
        """Return the default version, and the number of workers of each."""
        return self.server.default_version(MODEL), {one.version: one.num_ready for one in self.server.versions(MODEL)}

    def predicted(self) -> float:
        document = json.loads(self.server.predict(MODEL, REQUEST).body)
        return float(document["predictions"][0])


@pytest.fixture
def bench(ledger: Ledger, tmp_path: Path) -> Bench:
    made = Bench(
        InProcessServer(tmp_path / "server"),
        lambda number: archive_of(ledger, ledger.version(MODEL, number), tmp_path),
        ledger,
    )
    made.server.before = made.before
    return made


def test_deploy_brings_up_checks_switches_and_retires_in_this_order(bench: Bench) -> None:
    bench.roll(1)
    before = bench.predicted()
    bench.calls.clear()
    assert bench.roll(2) == Deployment(MODEL, 2, "1", changed=True)
    assert bench.calls == [("register", "2"), ("example", "2"), ("set_default", "2"), ("scale", "1")]
    assert bench.state() == ("2", {"1": 0, "2": 1})
    assert bench.predicted() == pytest.approx(before + 1)


STEPS = [("register", "2"), ("example", "2"), ("set_default", "2"), ("scale", "1")]


@pytest.mark.parametrize("step", STEPS, ids=[verb for verb, _ in STEPS])
def test_a_failure_at_any_step_leaves_the_old_version_and_none_of_the_new(bench: Bench, step: tuple[str, str]) -> None:
    bench.roll(1, workers=2)
    before = bench.predicted()
    bench.fails = {step}
    with pytest.raises(DeploymentError, match=r"version 2 of 'plants' is not deployed: .*; version 1 serves as before"):
        bench.roll(2, workers=2)
    assert bench.state() == ("1", {"1": 2})
    assert bench.predicted() == before


def test_a_wrong_prediction_is_a_failure(bench: Bench) -> None:
    bench.roll(1)
    expected = example(fleet_of_version(bench.ledger.version(MODEL, 2)))
    expected["answer"]["predictions"][0] += 0.001
    with pytest.raises(DeploymentError, match=r"it predicts .*, and the store's model "):
        deploy(bench.target(), bench.archive(2), expected)
    assert bench.state() == ("1", {"1": 1})


def test_an_archive_that_cannot_load_is_a_failure(bench: Bench, tmp_path: Path) -> None:
    bench.roll(1)
    (tmp_path / "broken.mar").write_bytes(b"no archive")
    broken = replace(bench.archive(2), path=tmp_path / "broken.mar")
    with pytest.raises(DeploymentError, match=r"can't be loaded: .*; version 1 serves as before"):
        deploy(bench.target(), broken, {})
    assert bench.state() == ("1", {"1": 1})


def test_a_first_deployment_that_fails_leaves_nothing(bench: Bench) -> None:
    bench.fails = {("example", "1")}
    with pytest.raises(DeploymentError, match="no other version was there"):
        bench.roll(1)
    assert bench.state() == (None, {})


def test_a_failed_rollback_keeps_the_kept_version_registered(bench: Bench) -> None:
    bench.roll(1)
    bench.roll(2)
    bench.fails = {("example", "1")}
    with pytest.raises(DeploymentError, match="version 2 serves as before"):
        bench.roll(1)
    assert bench.state() == ("2", {"1": 0, "2": 1})


def test_what_could_not_be_undone_is_said(bench: Bench) -> None:
    bench.roll(1)
    bench.fails = {("example", "2"), ("unregister", "2")}
    with pytest.raises(DeploymentError, match="and undoing it failed: unregister of 2 failed"):
        bench.roll(2)
    assert bench.server.default_version(MODEL) == "1"


def test_rolling_back_to_a_kept_version_gives_it_workers_again(bench: Bench) -> None:
    for version in (1, 2, 1):
        bench.roll(version)
    assert bench.calls.count(("register", "1")) == 1
    assert bench.state() == ("1", {"1": 1, "2": 0})


def test_only_the_last_versions_are_kept(bench: Bench) -> None:
    removed = [bench.roll(version, keep=3).removed for version in range(1, 6)]
    assert removed == [(), (), (), ("1",), ("2",)]
    assert sorted(bench.state()[1]) == ["3", "4", "5"]


def test_deploying_what_serves_changes_nothing(bench: Bench) -> None:
    bench.roll(1)
    bench.calls.clear()
    assert bench.roll(1).changed is False
    assert bench.calls == []
    assert serves(bench.target(), MODEL, 1)
    assert not serves(bench.target(), MODEL, 2)


def test_other_content_under_a_registered_version_is_refused(bench: Bench) -> None:
    bench.roll(1)
    with pytest.raises(DeploymentError, match="undeploy it first"):
        deploy(bench.target(), replace(bench.archive(1), sha256="b" * 64), {})


def test_an_old_version_keeps_its_workers_while_requests_wait(bench: Bench) -> None:
    bench.roll(1)
    waiting, seen = [1] * 6, []
    bench.server.num_pending = lambda version: waiting.pop() if waiting else 0
    bench.server.before = lambda verb, version: seen.append(len(waiting)) if verb == "scale" else None
    bench.roll(2, drain_s=0.05)
    assert seen == [0]


def test_undeploy_removes_the_default_last(bench: Bench) -> None:
    for version in (1, 2):
        bench.roll(version)
    assert undeploy(bench.target(), MODEL) == ("1", "2")
    assert bench.state() == (None, {})


def test_follow_deploys_the_newest_version_after_a_failure(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.fails = {("register", "5")}

    class EnoughError(Exception):
        pass

    def report(done: Deployment) -> None:
        assert (done.version, done.changed) == (5, True)
        raise EnoughError

    with pytest.raises(EnoughError):
        follow(bench.ledger, MODEL, bench.target(), report, poll_s=0.001)
    assert "register of 5 failed" in caplog.text
    assert bench.state() == ("5", {"5": 1})
