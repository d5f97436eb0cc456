"""Rolling versions out under load: no request is lost, and a failure leaves the old version serving."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from handler.description.description import example
from jobs.cli import main
from model_store import open_ledger
from model_store.archives.archive import Archive
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.deployment.canary import Limits, Tryout
from model_store.deployment.control import Control
from model_store.deployment.curing import Health
from model_store.deployment.errors import DeploymentError, KeyRefusedError, ServerError
from model_store.deployment.following import Follower, deploy_alone, deploy_version, deploy_wanted, follow
from model_store.deployment.holds import release
from model_store.deployment.rollout import Deployment, Target, deploy, undeploy
from model_store.ledger.ledger import Ledger
from model_store.torchserve.management import Management
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.load import Load
from tests.servers.torchserve import ServedStores, until

pytestmark = [pytest.mark.torchserve, pytest.mark.timeout(300)]
HOSTS = ("torchserve", "uvicorn")

MODEL = "rolling"
BODY = json.dumps({"dataset": "north", "instances": [[3, 1]]}).encode()
SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1.0"))
CANARY_RATE = 100.0
SHORT_RATE, FULL_RATE, FULL_SECONDS = 60.0, 200.0, 60.0


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A store with three versions, each of which predicts one more than the one before."""
    made = open_ledger(str(tmp_path / "store"))
    for shift in range(3):
        commit_models(made, MODEL, sample_stores(float(shift)))
    return made


@pytest.fixture
def target(served_stores: ServedStores) -> Iterator[Target]:
    """The server of the session, from which the model is removed after the test."""
    with served_stores.management() as management:
        control = Control(served_stores.server.settings.folder / "control")
        made = Target(management, drain_s=0.5, control=control)
        yield made
        undeploy(made, MODEL)


def predicted(served: ServedStores) -> tuple[int, float]:
    """Return the version that answers, and its prediction."""
    document = served.client.post(f"/predictions/{MODEL}", content=BODY).json()
    return document["model"]["version"], document["predictions"][0]


def rollout(ledger: Ledger, target: Target, number: int) -> Deployment:
    return deploy_version(ledger, ledger.version(MODEL, number), target)


def ready_pids(target: Target) -> set[int]:
    """Return the process ids of the workers that are ready."""
    return {worker.pid for worker in target.server.describe(MODEL, "1").workers if worker.is_ready}


def broken(archive: Archive, folder: Path) -> Archive:
    """Return an archive of the same version that TorchServe takes and no worker can load: the index is left out."""
    path = folder / "broken.mar"
    with zipfile.ZipFile(archive.path) as source, zipfile.ZipFile(path, "w") as changed:
        for info in source.infolist():
            if not info.filename.endswith("index.safetensors"):
                changed.writestr(info, source.read(info))
    return replace(archive, path=path, sha256="0" * 64)


def test_deploy_rolls_forward_and_back_and_keeps_the_last_versions(
    served_stores: ServedStores, ledger: Ledger, target: Target
) -> None:
    first = rollout(ledger, target, 1)
    assert (first.previous, first.changed) == (None, True)
    base = predicted(served_stores)[1]
    assert rollout(ledger, target, 1).changed is False
    with Load(served_stores.server.settings, f"/predictions/{MODEL}", BODY, SHORT_RATE) as load:
        until(lambda: len(load.outcomes) > 10)
        assert rollout(ledger, target, 2).previous == "1"
        assert predicted(served_stores) == (2, pytest.approx(base + 1))
        assert rollout(ledger, target, 1).previous == "2"
        assert predicted(served_stores) == (1, pytest.approx(base))
    assert load.failures() == []
    assert load.versions() == [1, 2]
    done = rollout(ledger, target, 3)
    assert done.removed == ("2",)
    registered = {one.version: one.num_ready for one in target.server.versions(MODEL)}
    assert registered == {"1": 1, "3": 1}
    archives = [
        path.name for path in served_stores.server.settings.model_store.iterdir() if path.name.startswith(MODEL)
    ]
    assert len(archives) == 2


def test_an_address_with_a_version_and_a_dataset_is_answered_through_deployments(
    served_stores: ServedStores, ledger: Ledger, target: Target
) -> None:
    rollout(ledger, target, 1)
    pinned, body = f"/predictions/{MODEL}/1/north", json.dumps({"instances": [[3, 1]]}).encode()
    with Load(served_stores.server.settings, pinned, body, SHORT_RATE) as load:
        until(lambda: len(load.outcomes) > 10)
        for number in (2, 1, 3):
            rollout(ledger, target, number)
    assert load.failures() == []
    assert load.versions() == [1]


def test_an_archive_that_cannot_load_leaves_the_old_version_serving(
    served_stores: ServedStores, ledger: Ledger, target: Target, tmp_path: Path
) -> None:
    rollout(ledger, target, 1)
    before = sorted(path.name for path in served_stores.server.settings.model_store.iterdir())
    version = ledger.version(MODEL, 2)
    expected = example(fleet_of_version(version, ["bare"]))
    archive = broken(archive_of(ledger, version, tmp_path / "archives"), tmp_path)
    with (
        Load(served_stores.server.settings, f"/predictions/{MODEL}", BODY, SHORT_RATE) as load,
        pytest.raises(DeploymentError, match=r"version 2 of 'rolling' is not deployed: .*; version 1 serves as before"),
    ):
        deploy(target, archive, expected)
    assert load.failures() == []
    assert load.versions() == [1]
    assert [one.version for one in target.server.versions(MODEL)] == ["1"]
    assert sorted(path.name for path in served_stores.server.settings.model_store.iterdir()) == before


def test_a_killed_worker_loses_at_most_what_it_had_in_its_hands(
    served_stores: ServedStores, ledger: Ledger, target: Target
) -> None:
    rollout(ledger, replace(target, workers=2), 1)
    workers = target.server.describe(MODEL, "1").workers
    with Load(served_stores.server.settings, f"/predictions/{MODEL}", BODY, SHORT_RATE) as load:
        until(lambda: len(load.outcomes) > 10)
        killed_at = time.monotonic()
        os.kill(workers[0].pid, signal.SIGKILL)
        until(lambda: len(ready_pids(target) - {workers[0].pid}) == 2, timeout_s=60)
        recovered = len(load.outcomes)
        until(lambda: len(load.outcomes) > recovered + 10)
    assert len(load.failures()) <= 1
    assert all(one.sent_at <= killed_at + 1.0 for one in load.failures())
    assert workers[1].pid in ready_pids(target)


def test_follow_deploys_each_new_version_as_it_is_committed(
    served_stores: ServedStores, ledger: Ledger, target: Target
) -> None:
    class EnoughError(Exception):
        pass

    seen: list[int] = []

    def report(done: Deployment) -> None:
        seen.append(done.version)
        if done.version == 4:
            raise EnoughError

    def run() -> None:
        with pytest.raises(EnoughError):
            follow(lambda: ledger, MODEL, target, report, poll_s=0.05)

    follower = threading.Thread(target=run)
    follower.start()
    until(lambda: seen == [3], timeout_s=60)
    commit_models(ledger, MODEL, sample_stores(7.0))
    follower.join(timeout=60)
    assert seen == [3, 4]
    assert predicted(served_stores)[0] == 4


def test_a_canary_a_rollback_of_it_a_hold_and_a_release_lose_no_request(
    served_stores: ServedStores, ledger: Ledger, target: Target
) -> None:
    far, near = (Tryout("canary", 0.2, Limits(None, num_requests=5, max_distance=distance)) for distance in (1.0, 10.0))
    follower = Follower(lambda: ledger, MODEL, target, lambda done: None)
    deploy_wanted(ledger, MODEL, 2, target, deploy_alone)
    with Load(served_stores.server.settings, f"/predictions/{MODEL}", BODY, CANARY_RATE) as load:
        until(lambda: len(load.outcomes) > 10)
        with pytest.raises(DeploymentError, match=r"the canary of version 3 was taken off: .* moved by 3"):
            deploy_wanted(ledger, MODEL, None, target, far.deploy)
        assert follower.look()
        assert predicted(served_stores)[0] == 2
        assert deploy_wanted(ledger, MODEL, None, target, near.deploy).version == 3
        assert deploy_wanted(ledger, MODEL, 2, target, deploy_alone).held
        assert follower.look()
        assert predicted(served_stores)[0] == 2
        release(Control(served_stores.server.settings.folder / "control"), MODEL)
        assert follower.look()
        assert predicted(served_stores)[0] == 3
    assert load.failures() == []
    assert load.versions() == [2, 3]
    assert list((served_stores.server.settings.folder / "control" / "rollouts").iterdir()) == []


def test_a_shadow_answers_nothing_and_says_how_far_predictions_moved(
    served_stores: ServedStores, ledger: Ledger, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    rollout(ledger, target, 2)
    settings = served_stores.server.settings
    words = ["deploy", MODEL, "--store", ledger.uri, "--shadow", "--requests", "5", "--max-distance", "5", "--json"]
    with (
        Load(settings, f"/predictions/{MODEL}", BODY, CANARY_RATE) as load,
        pytest.raises(SystemExit) as ended,
    ):
        main([*words, "--management", settings.management_url, "--token-file", str(settings.key_file)])
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["version"], document["base"]) == ("shadow", 3, 2)
    assert (document["errors"], document["reason"]) == (0, None)
    assert 3 < document["distance"]["max"] < 4
    assert load.failures() == []
    assert load.versions() == [2]


def test_the_dataset_may_stand_in_the_query_where_torchserve_hands_it_over(
    served_stores: ServedStores, ledger: Ledger, target: Target
) -> None:
    rollout(ledger, target, 1)
    address = f"/models/{MODEL}/invoke?dataset=north"
    answered = served_stores.client.post(address, json={"instances": [[3, 1]]})
    assert answered.json()["model"]["dataset"] == "north"
    assert served_stores.client.get(address).json()["dataset"] == "north"


@pytest.mark.soak  # TorchServe waits for half a minute before it kills a worker that hangs
def test_follow_starts_a_version_anew_whose_worker_hangs(
    served_stores: ServedStores, ledger: Ledger, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_store.torchserve.management.EXAMPLE_TIMEOUT_S", 1.0)
    rollout(ledger, target, 1)
    [worker] = target.server.describe(MODEL, "1").workers
    os.kill(worker.pid, signal.SIGSTOP)
    health = Health(target, MODEL, interval_s=0.0)
    for _ in range(2):
        with pytest.raises(ServerError, match="version 1 of 'rolling' does not answer its example"):
            health.look("1")
    health.look("1")
    assert predicted(served_stores)[0] == 1
    assert worker.pid not in ready_pids(target)


def test_the_verbs_deploy_and_undeploy(
    served_stores: ServedStores, ledger: Ledger, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = served_stores.server.settings
    shared = ["--management", settings.management_url, "--token-file", str(settings.key_file), "--json"]

    def run(*arguments: str) -> dict[str, object]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *shared])
        assert ended.value.code == 0
        document: dict[str, object] = json.loads(capsys.readouterr().out)
        return document

    done = run("deploy", MODEL, "--store", ledger.uri)
    assert done == {"collection": MODEL, "version": 3, "previous": None, "changed": True, "removed": [], "held": False}
    assert predicted(served_stores)[0] == 3
    assert run("deploy", MODEL, "--store", ledger.uri, "--version", "3")["changed"] is False
    assert run("undeploy", MODEL) == {"collection": MODEL, "removed": [3]}
    assert target.server.versions(MODEL) == ()


def test_deploy_says_that_nothing_listens(ledger: Ledger, tmp_path: Path) -> None:
    with Management("http://127.0.0.1:9") as management, pytest.raises(ServerError, match="can't be reached"):
        rollout(ledger, Target(management), 1)


def test_deploy_without_the_key_is_refused(served_stores: ServedStores, ledger: Ledger, tmp_path: Path) -> None:
    url = served_stores.server.settings.management_url
    with Management(url) as management, pytest.raises(KeyRefusedError, match="set --token-file"):
        rollout(ledger, Target(management), 1)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_200_requests_a_second_through_deploy_rollback_kill_and_a_broken_archive(
    served_stores: ServedStores, ledger: Ledger, target: Target, tmp_path: Path
) -> None:
    two = replace(target, workers=2)
    rollout(ledger, two, 1)
    until_s = time.monotonic() + max(20.0, FULL_SECONDS * SCALE)
    archive = broken(archive_of(ledger, ledger.version(MODEL, 3), tmp_path / "archives"), tmp_path)
    with Load(served_stores.server.settings, f"/predictions/{MODEL}", BODY, FULL_RATE) as load:
        rollout(ledger, two, 2)
        rollout(ledger, two, 1)
        with pytest.raises(DeploymentError):
            deploy(two, archive, example(fleet_of_version(ledger.version(MODEL, 3), ["bare"])))
        assert load.failures() == []
        killed = target.server.describe(MODEL, "1").workers[0].pid
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(ready_pids(target) - {killed}) == 2, timeout_s=60)
        until(lambda: time.monotonic() > until_s, timeout_s=FULL_SECONDS + 60)
    assert len(load.outcomes) >= 0.95 * FULL_RATE * max(20.0, FULL_SECONDS * SCALE)
    assert len(load.failures()) <= 1
