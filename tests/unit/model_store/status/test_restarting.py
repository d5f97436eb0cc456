from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from model_store.archives.archive import Archive
from model_store.archives.stored import archive_of
from model_store.deployment.control import Control
from model_store.deployment.errors import ServerError
from model_store.deployment.server import RegisteredVersion, Worker
from model_store.ledger.ledger import Ledger
from model_store.serving.settings import ServerSettings
from model_store.status.pages import State
from model_store.status.restarting import HostCures, RestartingHost
from tests.servers.in_process import InProcessServer
from tests.servers.torchserve import COLLECTION, until


@dataclass
class FakeHost:
    """A host without a process: ready at once, until it is stopped or has an exit code."""

    settings: ServerSettings
    archive: Archive
    code: int | None = None
    is_draining: bool = False
    name: str = "FakeHost"
    pid: int = 1

    @property
    def log_file(self) -> Path:
        return self.settings.folder / "log"

    def exit_code(self) -> int | None:
        return self.code

    def problem(self) -> str | None:
        return None if self.code is None else "it has ended"

    def drain(self, timeout_s: float) -> bool:
        self.is_draining = True
        return True

    def stop(self) -> None:
        self.code = -9

    def log_tail(self) -> str:
        return "its last words"


@dataclass
class Restarted:
    """A host that can be restarted, the processes that it had, and the server that it is for its cures."""

    host: RestartingHost
    cures: HostCures
    server: InProcessServer
    control: Control
    state: State
    started: list[FakeHost] = field(default_factory=list)


@pytest.fixture
def archive(stores_ledger: Ledger, tmp_path: Path) -> Archive:
    return archive_of(stores_ledger, stores_ledger.version(COLLECTION), tmp_path / "archives")


@pytest.fixture
def restarted(archive: Archive, tmp_path: Path) -> Restarted:
    """A host that serves version 1 of `stores`; a restart forgets what the server had registered."""
    settings = ServerSettings(tmp_path / "server")
    settings.model_store.mkdir(parents=True)
    os.link(archive.path, settings.model_store / archive.file_name)
    server = InProcessServer(tmp_path / "unpacked")
    started: list[FakeHost] = []

    def start(settings: ServerSettings, archive: Archive, keep: Sequence[int]) -> FakeHost:
        for model in server.models():
            for one in sorted(server.versions(model), key=lambda one: one.version == server.default_version(model)):
                server.unregister(model, one.version)
        server.register(replace(archive, path=settings.model_store / archive.file_name), settings.workers)
        started.append(FakeHost(settings, archive))
        return started[-1]

    def load(file_name: str, workers: int) -> None:
        """Register a file of the model store, as it lies there."""
        collection, version, sha256 = file_name.removesuffix(".mar").rsplit("-", 2)
        server.register(Archive(collection, int(version), settings.model_store / file_name, sha256), workers)

    state = State()
    host = RestartingHost(start, settings, archive, [], state)
    state.doing = None
    control = Control(settings.control)
    return Restarted(host, HostCures(host, server, control, load), server, control, state, started)


def register(restarted: Restarted, archive: Archive, collection: str, version: int, workers: int) -> None:
    """Register the models of `archive` as another version or collection, as a deployment leaves it."""
    other = replace(archive, collection=collection, version=version)
    path = restarted.host.settings.model_store / other.file_name
    os.link(archive.path, path)
    restarted.server.register(replace(other, path=path), workers)


def test_a_restart_serves_again_what_was_served(restarted: Restarted, archive: Archive) -> None:
    register(restarted, archive, COLLECTION, 2, workers=3)
    register(restarted, archive, "others", 5, workers=1)
    restarted.server.set_default(COLLECTION, "2")
    restarted.cures.remember()
    restarted.cures.restart_server()
    assert [one.code for one in restarted.started] == [-9, None]
    assert restarted.started[1].archive.version == 2
    server = restarted.server
    assert {name: server.default_version(name) for name in server.models()} == {COLLECTION: "2", "others": "5"}
    workers = {one.version: one.min_workers for one in server.versions(COLLECTION)}
    assert workers == {"1": 1, "2": 3}


def test_a_restart_that_lacks_a_version_is_not_over(restarted: Restarted, archive: Archive) -> None:
    register(restarted, archive, "others", 5, workers=1)
    restarted.cures.remember()

    def refuse(verb: str, version: str) -> None:
        if (verb, version) == ("register", "5"):
            raise ServerError("the disk is full")

    restarted.server.before = refuse
    with pytest.raises(ServerError, match="the disk is full"):
        restarted.cures.restart_server()
    assert restarted.cures.has_ended() == "it does not serve again all that it served"
    restarted.server.before = lambda verb, version: None
    restarted.cures.restart_server()
    assert restarted.cures.has_ended() is None
    assert set(restarted.server.models()) == {COLLECTION, "others"}


def test_a_restart_serves_the_rest_where_an_archive_is_gone(restarted: Restarted, archive: Archive) -> None:
    register(restarted, archive, "others", 5, workers=1)
    restarted.cures.remember()
    for path in restarted.host.settings.model_store.glob("others-*"):
        path.unlink()
    restarted.cures.restart_server()
    assert restarted.server.models() == (COLLECTION,)


def test_a_host_is_restarted_with_its_first_archive_if_nothing_is_known(restarted: Restarted) -> None:
    restarted.started[0].code = 137
    assert restarted.cures.has_ended() == "it ended by itself with code 137: its last words"
    restarted.cures.restart_server()
    assert restarted.cures.has_ended() is None
    assert restarted.host.exit_code() is None


def test_a_restart_is_told_while_it_lasts(restarted: Restarted) -> None:
    told: list[str | None] = []

    def start(settings: ServerSettings, archive: Archive, keep: Sequence[int]) -> FakeHost:
        told.append(restarted.state.doing)
        return FakeHost(settings, archive)

    host = RestartingHost(start, restarted.host.settings, restarted.host.archive, [], restarted.state)
    host.restart(host.archive)
    assert told == [None, "restarting"]
    assert restarted.state.doing is None


def test_a_host_that_ends_while_it_starts_says_so(restarted: Restarted) -> None:
    restarted.state.doing = "starting"
    restarted.started[0].code = 1
    assert restarted.host.exit_code() == 1


def test_a_host_that_is_stopped_is_not_started_again(restarted: Restarted) -> None:
    restarted.host.drain(1.0)
    assert restarted.started[0].is_draining
    assert restarted.cures.is_ending()
    restarted.host.stop()
    restarted.cures.restart_server()
    assert len(restarted.started) == 1
    assert restarted.cures.has_ended() is None


def test_a_host_that_is_given_up_ends_with_an_error(restarted: Restarted) -> None:
    restarted.cures.give_up("no restart helps")
    with pytest.raises(ServerError, match="FakeHost is given up: no restart helps; its last words"):
        restarted.host.exit_code()


def test_workers_are_taken_away_and_started_again(restarted: Restarted) -> None:
    scaled: list[tuple[str, int]] = []
    before = restarted.server.scale

    def scale(model: str, version: str, workers: int) -> None:
        scaled.append((version, workers))
        before(model, version, workers)

    restarted.server.scale = scale  # type: ignore[method-assign]
    assert restarted.cures.restart_workers(COLLECTION)
    assert scaled == [("1", 0), ("1", 1)]


@pytest.mark.parametrize("reason", ["somebody deploys", "it has no workers", "it is gone"])
def test_workers_are_left_alone(restarted: Restarted, reason: str) -> None:
    collection = "others" if reason == "it is gone" else COLLECTION
    if reason == "it has no workers":
        restarted.server.scale(COLLECTION, "1", 0)
    if reason == "somebody deploys":
        with restarted.control.deploying(COLLECTION):
            assert not restarted.cures.restart_workers(collection)
    else:
        assert not restarted.cures.restart_workers(collection)


def test_a_worker_that_a_signal_has_stopped_is_ended(restarted: Restarted) -> None:
    stopped, running = (subprocess.Popen(["sleep", "300"]) for _ in range(2))
    try:
        stopped.send_signal(signal.SIGSTOP)
        until(lambda: " T " in Path(f"/proc/{stopped.pid}/stat").read_text())
        workers = tuple(Worker(str(one.pid), one.pid, is_ready=True) for one in (stopped, running))
        describe: Callable[[str, str], RegisteredVersion] = restarted.server.describe

        def describe_these(model: str, version: str) -> RegisteredVersion:
            return replace(describe(model, version), workers=workers)

        restarted.server.describe = describe_these  # type: ignore[method-assign]
        assert restarted.cures.restart_workers(COLLECTION)
        assert stopped.wait(10) == -signal.SIGKILL
        assert running.poll() is None
    finally:
        for one in (stopped, running):
            one.kill()
            one.wait()
