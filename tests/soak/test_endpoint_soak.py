"""No request of a steady load fails, whatever happens to the servers, the keys, the versions and the store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from model_store import open_ledger
from model_store.serving.settings import Ports, ServerSettings
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.command_line import ANY_PORTS, GRIDLINE, running, started
from tests.servers.fault_proxy import FaultProxy, fault_proxy, no_faults
from tests.servers.load import Load
from tests.servers.stores import S3Server
from tests.servers.torchserve import until

pytestmark = [pytest.mark.soak, pytest.mark.torchserve, pytest.mark.timeout(900)]

SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1.0"))
RATE = 100.0
LEAST_S = 60.0
OUTAGE_S = max(10.0, 60.0 * SCALE)
COLLECTION = "stores"
BODY = json.dumps({"dataset": "north", "instances": [[3, 1]]}).encode()


class Store:
    """A store in S3 behind a proxy that can fail: committed to directly, and read by the servers through the proxy."""

    def __init__(self, server: S3Server, proxy: FaultProxy) -> None:
        self.uri = f"s3://{server.new_bucket()}/models"
        self.proxy = proxy
        self.ledger = open_ledger(self.uri, server.settings)
        keys = {
            "AWS_ACCESS_KEY_ID": server.settings.access_key_id,
            "AWS_SECRET_ACCESS_KEY": server.settings.secret_access_key,
        }
        self.environment = os.environ | keys | {"AWS_ENDPOINT_URL": proxy.endpoint_url, "AWS_REGION": "us-east-1"}

    def commit(self, shift: float) -> None:
        """Commit a version that predicts this much more than the first."""
        commit_models(self.ledger, COLLECTION, sample_stores(shift))

    def running(self, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run a command until the block ends, and ask it to stop then."""
        return running(*arguments, env=self.environment)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code of a command, and the last line that it wrote to standard error."""
        done = subprocess.run(
            [*GRIDLINE, *arguments], capture_output=True, check=False, text=True, env=self.environment
        )
        return done.returncode, done.stderr.strip().rpartition("\n")[2]


@pytest.fixture
def store(s3_server: S3Server) -> Iterator[Store]:
    with fault_proxy(str(s3_server.settings.endpoint_url)) as proxy:
        made = Store(s3_server, proxy)
        made.commit(0.0)
        yield made


@contextmanager
def served(store: Store, folder: Path, host: str) -> Iterator[tuple[subprocess.Popen[str], ServerSettings]]:
    """Run `gridline serve`; yield the process and how to reach it."""
    arguments = [
        "serve",
        COLLECTION,
        "--store",
        store.uri,
        "--folder",
        str(folder),
        "--json",
        *ANY_PORTS,
        *host.split(),
    ]
    with store.running(*arguments) as process:
        document = started(process)
        ports = (int(document[name].split(":")[2].split("/")[0]) for name in ("url", "management_url"))
        yield process, ServerSettings(folder, ports=Ports(*ports))


@pytest.mark.parametrize("host", ["", "--host-with uvicorn"], ids=["torchserve", "uvicorn"])
def test_100_requests_a_second_through_everything_that_happens_to_a_server(
    store: Store, tmp_path_factory: pytest.TempPathFactory, host: str
) -> None:
    folder = tmp_path_factory.mktemp("e")  # paths of sockets are short
    with ExitStack() as stack:
        process, settings = stack.enter_context(served(store, folder / "first", host))
        _, behind = stack.enter_context(served(store, folder / "second", host))
        target = ["--management", settings.management_url, "--token-file", str(settings.folder)]
        load = Load(settings, f"/predictions/{COLLECTION}", BODY, RATE, fallback=behind)
        with load:
            started = time.monotonic()
            until(lambda: len(load.outcomes) > 50)
            rotate_keys(store, settings, target)
            canary_is_taken_off(store, target)
            outage_of_the_store(store, load, target)
            until(lambda: time.monotonic() - started > LEAST_S * SCALE, timeout_s=LEAST_S)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            ended = len(load.outcomes)
            until(lambda: len(load.outcomes) > ended + 200)
    assert load.failures() == []
    assert load.versions() == [1, 2, 3]
    assert max(load.outcomes, key=lambda one: one.answered_at).version == 1  # by the second server
    assert len(load.outcomes) >= 0.9 * RATE * LEAST_S * SCALE


def rotate_keys(store: Store, settings: ServerSettings, target: list[str]) -> None:
    before = settings.key_file.read_text()
    assert store.run("keys", "rotate", *target) == (0, "")
    assert settings.key_file.read_text() != before


def canary_is_taken_off(store: Store, target: list[str]) -> None:
    """Try a version whose predictions are far away: it answers some requests, and is not deployed."""
    store.commit(1e6)
    canary = ["--canary", "20%", "--requests", "100", "--max-distance", "1"]
    code, said = store.run("deploy", COLLECTION, "--store", store.uri, *target, *canary)
    assert code == 4, said
    assert "version 1 of 'stores' serves as before" in said


def outage_of_the_store(store: Store, load: Load, target: list[str]) -> None:
    """Follow the collection through an outage, in which a version is committed: it is deployed afterwards."""
    asked = len(store.proxy.requests)
    with store.running("deploy", COLLECTION, "--follow", "--store", store.uri, *target) as follower:
        until(lambda: len(store.proxy.requests) > asked + 5)
        store.proxy.faults = lambda request: "503"
        lasts_until = time.monotonic() + OUTAGE_S
        store.commit(1.0)
        until(lambda: time.monotonic() > lasts_until, timeout_s=OUTAGE_S + 10)
        assert follower.poll() is None
        store.proxy.faults = no_faults
        until(lambda: 3 in load.versions(), timeout_s=120)
