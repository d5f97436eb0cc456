"""Deployment on a server that may fail at any step: what is left is what was there before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from handler.description.description import example
from model_store.archives.version_fleet import fleet_of_version
from model_store.deployment.errors import DeploymentError
from model_store.deployment.rollout import Deployment, deploy, serves, undeploy
from tests.servers.rollouts import MODEL, Bench


def test_deploy_brings_up_checks_and_switches_in_this_order_and_the_old_version_keeps_its_workers(bench: Bench) -> None:
    bench.roll(1)
    before = bench.predicted()
    bench.calls.clear()
    assert bench.roll(2) == Deployment(MODEL, 2, "1", changed=True)
    assert bench.calls == [("register", "2"), ("example", "2"), ("set_default", "2")]
    assert bench.state() == ("2", {"1": 1, "2": 1})
    assert bench.predicted() == pytest.approx(before + 1)
    assert bench.predicted("1") == before


STEPS = [("register", "2"), ("example", "2"), ("set_default", "2")]


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
    assert bench.state() == ("2", {"1": 1, "2": 1})


def test_what_could_not_be_undone_is_said(bench: Bench) -> None:
    bench.roll(1)
    bench.fails = {("example", "2"), ("unregister", "2")}
    with pytest.raises(DeploymentError, match="and undoing it failed: unregister of 2 failed"):
        bench.roll(2)
    assert bench.server.default_version(MODEL) == "1"


def test_rolling_back_to_a_kept_version_only_sets_the_default(bench: Bench) -> None:
    for version in (1, 2):
        bench.roll(version)
    bench.calls.clear()
    bench.roll(1)
    assert bench.calls == [("example", "1"), ("set_default", "1")]
    assert bench.state() == ("1", {"1": 1, "2": 1})


def test_only_the_last_versions_are_kept(bench: Bench) -> None:
    removed = [bench.roll(version, keep=3).removed for version in range(1, 6)]
    assert removed == [(), (), (), ("1",), ("2",)]
    assert bench.state() == ("5", {"3": 1, "4": 1, "5": 1})


def test_the_version_that_served_is_kept_even_if_others_are_newer(bench: Bench) -> None:
    for version in (1, 2, 1):
        bench.roll(version)
    assert bench.roll(3).removed == ("2",)
    assert bench.state() == ("3", {"1": 1, "3": 1})


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


def test_a_version_that_is_not_kept_is_removed_when_no_request_waits_for_it(bench: Bench) -> None:
    bench.roll(1)
    waiting, seen = [1] * 6, []
    bench.server.num_pending = lambda version: waiting.pop() if waiting else 0
    bench.server.before = lambda verb, version: seen.append(len(waiting)) if verb == "unregister" else None
    assert bench.roll(2, drain_s=0.05, keep=1).removed == ("1",)
    assert seen == [0]


def test_undeploy_removes_the_default_last(bench: Bench) -> None:
    for version in (1, 2):
        bench.roll(version)
    assert undeploy(bench.target(), MODEL) == ("1", "2")
    assert bench.state() == (None, {})
