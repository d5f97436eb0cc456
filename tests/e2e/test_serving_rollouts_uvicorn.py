"""A deployment, a canary and a rollback on the uvicorn host, by the same code and files as on TorchServe."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from model_store import open_ledger
from model_store.archives.stored import archive_of
from model_store.asgi.process import start
from model_store.deployment.canary import Limits, Tryout
from model_store.deployment.control import Control
from model_store.deployment.errors import DeploymentError, ServerError
from model_store.deployment.following import Follower, deploy_alone, deploy_wanted
from model_store.deployment.rollout import Target
from model_store.ledger.ledger import Ledger
from model_store.serving.ports import refuse_unusable, with_free
from model_store.serving.running import reserved, serving
from model_store.serving.settings import ServerSettings
from model_store.torchserve.management import Management
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.load import Load
from tests.servers.torchserve import ANY_PORTS, inference_client, until

MODEL = "rolling"
BODY = json.dumps({"dataset": "north", "instances": [[3, 1]]}).encode()
ROWS = json.dumps({"instances": [[3, 1]]}).encode()
RATE = 100.0


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A store with three versions, each of which predicts one more than the one before."""
    made = open_ledger(str(tmp_path_factory.mktemp("store")))
    for shift in range(3):
        commit_models(made, MODEL, sample_stores(float(shift)))
    return made


@pytest.fixture(scope="module")
def settings(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerSettings]:
    """A uvicorn host that serves version 1 with two workers."""
    folder = tmp_path_factory.mktemp("host")
    archive = archive_of(ledger, ledger.version(MODEL, 1), folder / "archives")
    made = ServerSettings(folder / "server", ports=with_free(ANY_PORTS), workers=2)
    with reserved(made) as lock, serving(start, archive, made, lock):
        yield made


@pytest.fixture
def target(settings: ServerSettings) -> Iterator[Target]:
    with Management(settings.management_url, settings.key_file, settings.model_store) as management:
        yield Target(management, workers=2, drain_s=0.2, control=Control(settings.control))


def test_a_canary_and_a_rollback_lose_no_request_and_touch_no_address_with_a_version(
    settings: ServerSettings, ledger: Ledger, target: Target
) -> None:
    far, near = (Tryout("canary", 0.5, Limits(None, 20, max_distance=distance)) for distance in (1.0, 10.0))
    with (
        Load(settings, f"/predictions/{MODEL}", BODY, RATE) as load,
        Load(settings, f"/predictions/{MODEL}/1/north", ROWS, RATE / 2) as pinned,
    ):
        until(lambda: len(load.outcomes) > 10)
        with pytest.raises(DeploymentError, match=r"the canary of version 3 was taken off: .* moved by"):
            deploy_wanted(ledger, MODEL, None, target, far.deploy)
        assert deploy_wanted(ledger, MODEL, 2, target, near.deploy).held
        assert deploy_wanted(ledger, MODEL, 1, target, deploy_alone).previous == "2"
    assert load.failures() == pinned.failures() == []
    assert set(load.versions()) == {1, 2, 3}
    assert pinned.versions() == [1]


def are_free(settings: ServerSettings) -> bool:
    """Return whether the ports of a server that was killed are free again: its workers end a moment after it."""
    try:
        refuse_unusable(settings)
    except ServerError:
        return False
    return True


def test_follow_survives_a_restart_of_the_server_and_keeps_what_is_held(
    ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("f")  # paths of sockets are short
    archive = archive_of(ledger, ledger.version(MODEL, 1), tmp_path / "archives")
    made = ServerSettings(tmp_path / "server", ports=with_free(ANY_PORTS))
    with Management(made.management_url, made.key_file, made.model_store) as management:
        target = Target(management, drain_s=0.0, control=Control(made.control))
        follower = Follower(lambda: ledger, MODEL, target, lambda done: None)
        with reserved(made) as lock, serving(start, archive, made, lock):
            assert follower.look()
            assert management.default_version(MODEL) == "3"
            deploy_wanted(ledger, MODEL, 2, target, deploy_alone)
        assert not follower.look()
        until(lambda: are_free(made))
        with reserved(made) as lock, serving(start, archive, made, lock):
            assert management.default_version(MODEL) == "1"
            assert follower.look()
            assert management.default_version(MODEL) == "2"


def test_the_dataset_may_stand_in_the_query(settings: ServerSettings) -> None:
    with inference_client(settings) as client:
        for address in (f"/predictions/{MODEL}?dataset=north", f"/models/{MODEL}/invoke?dataset=north"):
            answered = client.post(address, content=ROWS, headers={"Content-Type": "application/json"})
            assert answered.json()["model"]["dataset"] == "north"
            assert client.get(address).json()["dataset"] == "north"
