"""Five versions of a collection, and a server in this process to roll them out on, which may fail at any step."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from handler.description.description import example
from model_store import open_ledger
from model_store.archives.archive import Archive
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.deployment.control import Control
from model_store.deployment.errors import ServerError
from model_store.deployment.rollout import Deployment, Target, deploy
from model_store.ledger.ledger import Ledger
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.in_process import InProcessServer

MODEL = "plants"
REQUEST = {"dataset": "north", "instances": [[3, 1]]}


@pytest.fixture(scope="session")
def five_versions(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
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
    control: Control
    calls: list[tuple[str, str]] = field(default_factory=list)
    fails: set[tuple[str, str]] = field(default_factory=set)

    def before(self, verb: str, version: str) -> None:
        self.calls.append((verb, version))
        if (verb, version) in self.fails:
            self.fails.discard((verb, version))
            raise ServerError(f"{verb} of {version} failed")

    def target(self, **options: Any) -> Target:
        return Target(self.server, **{"drain_s": 0.0, "control": self.control} | options)

    def roll(self, version: int, **options: Any) -> Deployment:
        expected = example(fleet_of_version(self.ledger.version(MODEL, version)))
        return deploy(self.target(**options), self.archive(version), expected)

    def state(self) -> tuple[str | None, dict[str, int]]:
        """Return the default version, and the number of workers of each."""
        return self.server.default_version(MODEL), {one.version: one.num_ready for one in self.server.versions(MODEL)}

    def predicted(self, version: str | None = None) -> float:
        document = json.loads(self.server.predict(MODEL, REQUEST, version).body)
        return float(document["predictions"][0])


@pytest.fixture
def bench(five_versions: Ledger, tmp_path: Path) -> Bench:
    made = Bench(
        InProcessServer(tmp_path / "server", tmp_path / "control"),
        lambda number: archive_of(five_versions, five_versions.version(MODEL, number), tmp_path),
        five_versions,
        Control(tmp_path / "control"),
    )
    made.server.before = made.before
    return made


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Return a function after which no file of this process can grow beyond 1 KiB, until the test ends."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
