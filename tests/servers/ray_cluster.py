"""Fixture: a Ray head with its job server, on free ports, behind a token, with nothing left of it at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.processes import descendants, is_running

ROOT = Path(__file__).parents[2]
START_S = 180.0  # 10 to 20 where the machine is not busy


@dataclass(frozen=True)
class RayHead:
    """A running head. `environment` is that of a user who may use it: the token, and this Python first in the path."""

    address: str
    dashboard_url: str
    environment: dict[str, str]
    folder: Path

    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the repository, and return what it came to."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )


@pytest.fixture(scope="session")
def ray_head() -> Iterator[RayHead]:
    """A head of two CPUs, behind a token; tests that use it carry the marker ray."""
    with head_of_two_cpus("token") as head:
        yield head


@contextlib.contextmanager
def head_of_two_cpus(auth_mode: str) -> Iterator[RayHead]:
    """Run a head until the block ends; `auth_mode` is its RAY_AUTH_MODE: token or disabled."""
    folder = Path(tempfile.mkdtemp(prefix="gl-ray-", dir="/tmp"))  # short: a socket lies in it
    port, dashboard_port, client_port, agent_port = free_ports(4)
    environment = _environment(folder) | {"RAY_AUTH_MODE": auth_mode}
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "2"),
        *("--port", str(port), "--ray-client-server-port", str(client_port)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard_port)),
        *("--dashboard-agent-listen-port", str(agent_port), "--min-worker-port", "0", "--max-worker-port", "0"),
        *("--object-store-memory", str(100 * 2**20), "--temp-dir", str(folder), "--disable-usage-stats"),
    ]
    try:
        with running_head(command, environment, folder, dashboard_port):
            yield RayHead(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard_port}", environment, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_head(
    command: list[str], environment: dict[str, str], folder: Path, dashboard_port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a head that stays in the foreground until the block ends; it has its dashboard when the block begins."""
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=folder)
    try:
        deadline = time.monotonic() + START_S
        while "Ray runtime started" not in output.read_text() or not _is_open(dashboard_port):
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield process
    finally:
        _kill_all(process)


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill the head and what it started, and return when none of it runs: told to end, it takes up to half a minute."""
    process.send_signal(signal.SIGSTOP)  # it starts nothing anew
    others = descendants(process.pid)
    for pid in [process.pid, *(pid for pid, _ in others)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + START_S
    while any(is_running(each) for each in others):
        assert time.monotonic() < deadline, "what the head started runs on"
        time.sleep(0.02)


def _environment(folder: Path) -> dict[str, str]:
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "GRIDLINE_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return kept | {"PATH": path, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens to, all different."""
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
