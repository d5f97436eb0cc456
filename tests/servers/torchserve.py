"""Fixtures: a store of sample models, and one server of each host for a whole test session. Named in tests/conftest.py.

A module of tests that has `HOSTS = ("torchserve", "uvicorn")` runs its tests of `served_stores` on each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from handler.models.fleet import Fleet
from model_store import open_ledger
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.asgi import process as uvicorn
from model_store.ledger.ledger import Ledger
from model_store.serving import running
from model_store.serving.host import Host, Start
from model_store.serving.ports import with_free
from model_store.serving.settings import Ports, ServerSettings
from model_store.torchserve import process as torchserve
from model_store.torchserve.client import BearerKey
from model_store.torchserve.management import Management
from tests.samples.fleets import commit_models, sample_stores

ANY_PORTS = Ports(0, 0, 0, 0, 0)
COLLECTION = "stores"


@dataclass(frozen=True)
class ServedStores:
    """A running server with the collection `stores`, and what it serves, read without it."""

    server: Host
    ledger: Ledger
    fleet: Fleet
    client: httpx.Client

    def management(self) -> Management:
        """Return a client of its management API."""
        settings = self.server.settings
        return Management(settings.management_url, settings.key_file, settings.model_store)

    def post(self, content: bytes, content_type: str = "application/json", path: str = "") -> httpx.Response:
        """Send a body to the endpoint of the collection."""
        return self.client.post(
            f"/predictions/{COLLECTION}{path}", content=content, headers={"Content-Type": content_type}
        )


@pytest.fixture(scope="session")
def stores_ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A store with version 1 of the collection `stores`."""
    ledger = open_ledger(str(tmp_path_factory.mktemp("store")))
    commit_models(ledger, COLLECTION, sample_stores())
    return ledger


@pytest.fixture(scope="session")
def stores_fleet(stores_ledger: Ledger) -> Fleet:
    """The fleet of the collection `stores`, in memory."""
    return fleet_of_version(stores_ledger.version(COLLECTION))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of `served_stores` on each of the hosts that their module names."""
    hosts = getattr(metafunc.module, "HOSTS", None)
    if hosts is not None and "served_stores" in metafunc.fixturenames:
        metafunc.parametrize("served_stores", hosts, indirect=True, scope="session")


@pytest.fixture(scope="session")
def served_stores(request: pytest.FixtureRequest) -> ServedStores:
    """A server of `stores` with one worker: TorchServe, unless the module names others; its marker is torchserve."""
    served: ServedStores = request.getfixturevalue(f"{getattr(request, 'param', 'torchserve')}_stores")
    return served


@pytest.fixture(scope="session")
def torchserve_stores(
    stores_ledger: Ledger, stores_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedStores]:
    """A TorchServe that serves `stores` with one worker."""
    with host_of_stores(torchserve.start, stores_ledger, tmp_path_factory.mktemp("ts"), ANY_PORTS) as (server, client):
        yield ServedStores(server, stores_ledger, stores_fleet, client)


@pytest.fixture(scope="session")
def uvicorn_stores(
    stores_ledger: Ledger, stores_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedStores]:
    """A uvicorn that serves `stores` with one worker."""
    with host_of_stores(uvicorn.start, stores_ledger, tmp_path_factory.mktemp("uv"), Ports(0, 0, 0)) as (
        server,
        client,
    ):
        yield ServedStores(server, stores_ledger, stores_fleet, client)


@contextmanager
def host_of_stores(
    start: Start[Host], ledger: Ledger, folder: Path, ports: Ports
) -> Iterator[tuple[Host, httpx.Client]]:
    """Serve `stores` in a folder of its own until the block ends; yield the host, and a client with its key."""
    archive = archive_of(ledger, ledger.version(COLLECTION), folder / "archives")
    settings = ServerSettings(folder / "server", ports=with_free(ports))
    with (
        running.reserved(settings) as lock,
        running.serving(start, archive, settings, lock) as server,
        inference_client(settings) as client,
    ):
        yield server, client


def inference_client(settings: ServerSettings, **options: Any) -> httpx.Client:
    """Return a client of the inference port, with the key."""
    auth = BearerKey(settings.key_file, "inference")
    return httpx.Client(base_url=settings.inference_url, auth=auth, timeout=30.0, trust_env=False, **options)


def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds. Fails the test if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.02)


def processes_with(text: str) -> list[int]:
    """Return the ids of the processes whose command line holds `text`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue  # it ended meanwhile
            if text in command:
                found.append(int(folder.name))
    return found
