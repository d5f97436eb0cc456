"""Fixtures: a store of sample models, and one TorchServe for a whole test session. Named in tests/conftest.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from handler.models.fleet import Fleet
from model_store import open_ledger
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.ledger.ledger import Ledger
from model_store.serving.ports import with_free
from model_store.serving.settings import Ports, ServerSettings
from model_store.torchserve.client import BearerKey
from model_store.torchserve.management import Management
from model_store.torchserve.process import TorchServe
from model_store.torchserve.serving import serving
from tests.samples.fleets import commit_models, sample_stores

ANY_PORTS = Ports(0, 0, 0, 0, 0)
COLLECTION = "stores"


@dataclass(frozen=True)
class ServedStores:
    """A running TorchServe with the collection `stores`, and what it serves, read without it."""

    server: TorchServe
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


@pytest.fixture(scope="session")
def served_stores(
    stores_ledger: Ledger, stores_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedStores]:
    """A TorchServe that serves `stores` with one worker; tests that use it carry the marker torchserve."""
    folder = tmp_path_factory.mktemp("ts")
    archive = archive_of(stores_ledger, stores_ledger.version(COLLECTION), folder / "archives")
    settings = ServerSettings(folder / "server", ports=with_free(ANY_PORTS))
    with serving(archive, settings) as server, inference_client(settings) as client:
        yield ServedStores(server, stores_ledger, stores_fleet, client)


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
