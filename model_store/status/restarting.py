"""A host that can be started again with what it served, in the same folder and on the same ports."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from model_store.archives.archive import Archive
from model_store.claims.process_identity import is_stopped
from model_store.deployment.control import Control
from model_store.deployment.errors import BusyError, ServerError
from model_store.deployment.server import RegisteredVersion, Server
from model_store.serving.folder import prepare
from model_store.serving.host import Host, Start
from model_store.serving.running import wait_until_ready
from model_store.serving.settings import ServerSettings
from model_store.status.pages import State

FILE_NAME = re.compile(r"(?P<collection>.+)-(?P<version>\d+)-(?P<sha>[0-9a-f]{12})\.mar")
logger = logging.getLogger(__name__)


class RestartingHost:
    """A `Host` whose process may be another one later. Methods are called by two threads: one serves, one checks."""

    def __init__(
        self, start: Start[Host], settings: ServerSettings, archive: Archive, keep: Sequence[int], state: State
    ) -> None:
        self.settings = settings
        self.archive = archive
        self._start, self._keep, self._state = start, keep, state
        self._lock = threading.Lock()  # held while one process is replaced by the next
        self.is_ending = False
        self._given_up: str | None = None
        self._host = start(settings, archive, keep)

    @property
    def name(self) -> str:
        return self._host.name

    @property
    def log_file(self) -> Path:
        return self._host.log_file

    @property
    def pid(self) -> int:
        return self._host.pid

    def exit_code(self) -> int | None:
        """Return the exit code if it ends while it starts; later it is restarted. Raises ServerError if given up."""
        if self._given_up is not None:
            raise ServerError(f"{self.name} is given up: {self._given_up}; {self.log_tail()}")
        return self._host.exit_code() if self._state.doing == "starting" else None

    def ending(self) -> str | None:
        """Return how the process ended by itself, or None while it runs."""
        code = None if self.is_ending else self._host.exit_code()
        return None if code is None else f"it ended by itself with code {code}: {self.log_tail()}"

    def problem(self) -> str | None:
        return self._host.problem()

    def drain(self, timeout_s: float) -> bool:
        self.is_ending = True
        return self._host.drain(timeout_s)

    def stop(self) -> None:
        self.is_ending = True
        with self._lock:
            self._host.stop()

    def log_tail(self) -> str:
        return self._host.log_tail()

    def restart(self, archive: Archive) -> None:
        """Start the host again with an archive of its model store, and wait until it is ready. Raises ServerError."""
        self._state.doing = "restarting"
        try:
            with self._lock:
                self._host.stop()
                if self.is_ending:
                    return
                prepare(self.settings)
                self._host = self._start(self.settings, archive, self._keep)
            wait_until_ready(self._host)
        finally:
            self._state.doing = None

    def give_up(self, reason: str) -> None:
        self._given_up = reason


class HostCures:
    """The cures of a host (self_check.py), by its management API and by its process.

    `load` registers a file of the model store, with a number of workers.
    """

    def __init__(
        self, host: RestartingHost, server: Server, control: Control, load: Callable[[str, int], None]
    ) -> None:
        self._host, self._server, self._control, self._load = host, server, control, load
        self._served: Mapping[str, list[RegisteredVersion]] = {}
        self._is_complete = True  # all that was served before a restart is served again

    def is_ending(self) -> bool:
        return self._host.is_ending

    def has_ended(self) -> str | None:
        is_lacking = not self._is_complete and not self._host.is_ending
        return self._host.ending() or ("it does not serve again all that it served" if is_lacking else None)

    def remember(self) -> None:
        self._served = {name: self._registered(name) for name in self._server.models()}

    def _registered(self, collection: str) -> list[RegisteredVersion]:
        """Return the versions of a collection that have workers, the default one first."""
        default = self._server.default_version(collection)
        versions = [one for one in self._server.versions(collection) if one.min_workers]
        return sorted(versions, key=lambda one: one.version != default)

    def restart_workers(self, collection: str) -> bool:
        """Start the workers of the version that serves again; False if somebody deploys, or took its workers away."""
        try:
            with self._control.deploying(collection, wait=False):
                version = self._server.default_version(collection)
                if version is None:
                    return False
                registered = self._server.describe(collection, version)
                for worker in registered.workers:
                    _end_if_stopped(worker.pid)
                if registered.min_workers:
                    self._server.scale(collection, version, 0)
                    self._server.scale(collection, version, registered.min_workers)
                return registered.min_workers > 0
        except BusyError:
            return False

    def restart_server(self) -> None:
        """Start the server again; then register what else it served, as far as the archives are there."""
        served = [(archive, one.min_workers) for archive, one in self._archives()]
        first = next((archive for archive, _ in served), self._host.archive)
        self._is_complete = False
        self._host.restart(first)
        for archive, workers in served:
            if archive != first:
                self._load(archive.file_name, workers)
            elif workers != self._host.settings.workers:
                self._server.scale(archive.collection, str(archive.version), workers)
        self._is_complete = True

    def _archives(self) -> Iterator[tuple[Archive, RegisteredVersion]]:
        """Yield the archives that were served; of each collection the default one first, which then is it again."""
        for collection, registered in self._served.items():
            for one in registered:
                path = self._host.settings.model_store / one.file_name
                named = FILE_NAME.fullmatch(one.file_name)
                if named is not None and path.is_file():
                    yield Archive(collection, int(named["version"]), path, named["sha"]), one
                else:
                    logger.error("version %s of '%s' is not served again: %s is gone", one.version, collection, path)

    def give_up(self, reason: str) -> None:
        self._host.give_up(reason)


def _end_if_stopped(pid: int) -> None:
    """End a process that was stopped by a signal: it would not end by another one."""
    if is_stopped(pid):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
