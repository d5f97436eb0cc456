"""Following a collection: holds, two deployments at once, a store or a server that does not answer."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store import open_ledger
from model_store.archives.stored import archive_of
from model_store.deployment.control import HOLDS, Control
from model_store.deployment.curing import Health
from model_store.deployment.errors import BusyError, DeploymentError, ServerError
from model_store.deployment.following import Follower, alone, deploy_alone, deploy_wanted, follow
from model_store.deployment.holds import held, hold, release
from model_store.deployment.rollout import Deployment, Target
from model_store.deployment.status import status
from model_store.errors import StoreUnreachableError
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.rollouts import MODEL, Bench
from tests.servers.torchserve import until


class Down:
    """A ledger of a store that can't be reached while `is_down`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.is_down = ledger, False

    def opened(self) -> Ledger:
        if self.is_down:
            raise StoreUnreachableError("s3://models", "refused")
        return self.ledger


def follower(bench: Bench, open_ledger: Callable[[], Ledger] | None = None) -> Follower:
    return Follower(open_ledger or (lambda: bench.ledger), MODEL, bench.target(), lambda done: None)


def wanted(bench: Bench, number: int | None = None) -> Deployment:
    return deploy_wanted(bench.ledger, MODEL, number, bench.target(), deploy_alone)


def state(bench: Bench) -> dict[str, object]:
    found: dict[str, object] = json.loads((bench.control.folder / "followers" / f"{MODEL}.json").read_text())
    return found


def test_follow_deploys_the_newest_version_after_a_failure(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.fails = {("register", "5")}

    class EnoughError(Exception):
        pass

    def report(done: Deployment) -> None:
        assert (done.version, done.changed) == (5, True)
        raise EnoughError

    with pytest.raises(EnoughError):
        follow(lambda: bench.ledger, MODEL, bench.target(), report, poll_s=0.001)
    assert "version 5 of 'plants' is not deployed: register of 5 failed" in caplog.text
    assert caplog.records[-1].__dict__["fields"] == {"version": 5, "run_id": "run"}
    assert bench.state() == ("5", {"5": 1})


def test_follow_writes_when_it_saw_the_store_and_what(bench: Bench) -> None:
    before = time.time()
    store = Down(bench.ledger)
    looking = follower(bench, store.opened)
    store.is_down = True
    assert not looking.look()
    assert (state(bench)["last_success"], state(bench)["newest_version"]) == (None, None)
    assert "s3://models can't be reached" in str(state(bench)["problem"])
    store.is_down = False
    assert looking.look()
    seen = state(bench)
    assert before <= seen["last_success"] <= seen["last_check"] <= time.time()  # type: ignore[operator]
    assert (seen["newest_version"], seen["problem"]) == (5, None)


def test_follow_writes_what_it_saw_before_it_deploys(bench: Bench) -> None:
    seen = []

    def step(ledger: Ledger, version: Version, target: Target) -> Deployment:
        seen.append(state(bench)["newest_version"])
        return deploy_alone(ledger, version, target)

    assert Follower(lambda: bench.ledger, MODEL, bench.target(), lambda done: None, step).look()
    assert seen == [5]


def test_follow_goes_on_while_the_store_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = follower(bench)
    assert looking.look()

    def away(*arguments: object) -> object:
        raise StoreUnreachableError("s3://models", "refused")

    with monkeypatch.context() as change:
        change.setattr(Ledger, "version", away)
        assert not looking.look()
        assert bench.state() == ("5", {"5": 1})
    assert looking.look()


def test_a_rollback_holds_against_follow_until_the_newest_is_deployed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    looking = follower(bench)
    looking.look()
    assert wanted(bench, 3).held
    for _ in range(3):
        assert looking.look()
    assert bench.state()[0] == "3"
    assert caplog.text.count("version 3 stays, and version 5 waits") == 1
    assert "'gridline deploy plants --release' lifts that" in caplog.text
    assert wanted(bench).held is False
    looking.look()
    assert bench.state()[0] == "5"


def test_a_released_hold_lets_follow_deploy_the_newest(bench: Bench) -> None:
    wanted(bench, 3)
    looking = follower(bench)
    looking.look()
    assert bench.state()[0] == "3"
    lifted = release(bench.control, MODEL)
    assert lifted is not None
    assert (lifted.version, lifted.reason) == (3, "deploy --version 3")
    looking.look()
    assert bench.state()[0] == "5"
    assert release(bench.control, MODEL) is None


def test_follow_serves_the_held_version_again_after_a_restart_of_the_server(bench: Bench) -> None:
    hold(bench.control, MODEL, 2, "deploy --version 2")
    follower(bench).look()
    assert bench.state() == ("2", {"2": 1})


def test_a_rejected_version_does_not_hold_a_newer_one(bench: Bench) -> None:
    hold(bench.control, MODEL, 3, "the canary of version 4 was taken off", rejected=4)
    kept = held(bench.control, MODEL)
    assert kept is not None
    assert (kept.keeps_out(4), kept.keeps_out(5), kept.keeps_out(3)) == (True, False, False)


def test_the_newest_version_by_its_number_is_not_held(bench: Bench) -> None:
    assert wanted(bench, 5).held is False
    assert held(bench.control, MODEL) is None


def test_a_rollback_that_fails_leaves_the_hold_as_it_was(bench: Bench) -> None:
    wanted(bench, 3)
    bench.fails = {("register", "2")}
    with pytest.raises(DeploymentError):
        wanted(bench, 2)
    kept = held(bench.control, MODEL)
    assert kept is not None
    assert kept.version == 3


def test_a_hold_that_gridline_did_not_write_is_refused_in_one_line(bench: Bench) -> None:
    bench.control.write(HOLDS, {MODEL: {"version": "x"}})
    with pytest.raises(ServerError, match=r"holds\.json has no hold under 'plants' that gridline wrote"):
        held(bench.control, MODEL)
    (bench.control.folder / HOLDS).write_text("{")
    with pytest.raises(ServerError, match="can't be read"):
        held(bench.control, MODEL)


def test_two_deployments_at_once_end_as_one_after_the_other(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    done: list[Deployment] = []
    threads = [threading.Thread(target=lambda number=number: done.append(wanted(bench, number))) for number in (1, 2)]
    with alone(bench.target(), MODEL):
        for thread in threads:
            thread.start()
        until(lambda: caplog.text.count("waiting until it has ended") == 2)
        assert bench.calls == []
    for thread in threads:
        thread.join()
    first, second = done
    assert second.previous == str(first.version)
    assert bench.state() == (str(second.version), {"1": 1, "2": 1})


def test_a_deployment_waits_for_no_other_collection(bench: Bench) -> None:
    with bench.control.deploying("others"), bench.control.deploying(MODEL, wait=False):
        pass
    with bench.control.deploying(MODEL), pytest.raises(BusyError), bench.control.deploying(MODEL, wait=False):
        pass


def test_follow_leaves_the_server_to_a_deployment_that_runs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    looking = follower(bench)
    with alone(bench.target(), MODEL):
        for _ in range(3):
            assert looking.look()
        assert bench.calls == []
    assert caplog.text.count("it is left to that") == 1
    looking.look()
    assert bench.state()[0] == "5"


def test_a_version_that_does_not_answer_twice_is_started_anew(bench: Bench) -> None:
    bench.roll(5)
    health = Health(bench.target(), MODEL, interval_s=0.0)
    health.look("5")
    answers = iter([False, False, True])

    def before(verb: str, version: str) -> None:
        bench.calls.append((verb, version))
        if verb == "example" and not next(answers):
            raise ServerError("no answer")

    bench.server.before = before
    bench.calls.clear()
    for _ in range(2):
        with pytest.raises(ServerError, match="version 5 of 'plants' does not answer its example: no answer"):
            health.look("5")
    assert bench.calls == [("example", "5")] * 2 + [("scale", "5")] * 2 + [("example", "5")]
    assert bench.state() == ("5", {"5": 1})


def test_follow_registers_anew_what_new_workers_do_not_cure(bench: Bench) -> None:
    looking = follower(bench)
    looking.look()
    looking._health = Health(bench.target(), MODEL, interval_s=0.0)
    answers = iter([False, False, False])

    def before(verb: str, version: str) -> None:
        if verb == "example" and not next(answers, True):
            raise ServerError("no answer")

    bench.server.before = before
    assert [looking.look() for _ in range(3)] == [False, False, True]
    assert bench.state() == ("5", {"5": 1})


def test_a_version_is_asked_its_example_only_now_and_then(bench: Bench) -> None:
    bench.roll(5)
    bench.calls.clear()
    health = Health(bench.target(), MODEL)
    for _ in range(3):
        health.look("5")
    assert bench.calls == [("example", "5")]


def test_control_says_in_one_line_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("a file")
    control = Control(tmp_path / "control")
    with pytest.raises(ServerError, match="can't be written: "):
        control.write(HOLDS, {})
    with pytest.raises(ServerError, match="can't be written: "), control.deploying(MODEL):
        pass


def test_control_lies_beside_the_model_store_or_hidden_in_it_where_it_cannot_be_made(tmp_path: Path) -> None:
    store = tmp_path / "server" / "model-store"
    store.mkdir(parents=True)
    assert Control.beside(store).folder == tmp_path / "server" / "control"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "control").write_text("a file")
    assert Control.beside(tmp_path / "other" / "model-store").folder == tmp_path / "other" / "model-store" / ".control"


def test_control_leaves_the_old_file_and_no_half_where_writing_fails(bench: Bench) -> None:
    bench.control.write(HOLDS, {"a": 1})
    with pytest.raises(TypeError):
        bench.control.write(HOLDS, {"a": object()})
    assert bench.control.read(HOLDS) == {"a": 1}
    assert [path.name for path in bench.control.folder.iterdir()] == [HOLDS]


def test_status_shows_versions_workers_hold_and_follower(bench: Bench) -> None:
    assert status(bench.target(), MODEL)["version"] is None
    looking = follower(bench)
    looking.look()
    wanted(bench, 3)
    looking.look()
    shown = status(bench.target(), MODEL)
    assert shown["version"] == 3
    assert [(one["version"], one["workers"], one["ready"]) for one in shown["versions"]] == [(5, 1, 1), (3, 1, 1)]
    assert shown["hold"]["version"] == 3
    assert shown["follower"]["newest_version"] == 5


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_deployment_on_a_full_disk_leaves_the_old_version_and_no_file(
    bench: Bench, full_disk: Callable[[], None], tmp_path: Path, is_stored: bool
) -> None:
    ledger = open_ledger(str(tmp_path / "store"))
    for shift in range(2):
        commit_models(ledger, MODEL, sample_stores(float(shift)))
    deploy_wanted(ledger, MODEL, 1, bench.target(), deploy_alone)
    if is_stored:
        archive_of(ledger, ledger.version(MODEL), tmp_path / "archives")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    full_disk()
    with pytest.raises(DeploymentError, match="File too large"):
        deploy_wanted(ledger, MODEL, None, bench.target(), deploy_alone)
    assert bench.state() == ("1", {"1": 1})
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
