"""A shell session for the commands of the README: its ports are free ones, and what runs on is ended at last."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from model_store.objects.s3_settings import S3Settings
from tests.e2e.readme import ROOT

BIN = Path(sys.executable).parent
TIMEOUT_S = 150
INFERENCE, MANAGEMENT, DASHBOARD = 8080, 8081, 8265
SERVE_PORTS = (
    "--port",
    "--management-port",
    "--metrics-port",
    "--status-port",
    "--grpc-port",
    "--grpc-management-port",
)
HEAD_PORTS = (
    "--dashboard-port",
    "--port",
    "--ray-client-server-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
)


@dataclass(frozen=True)
class Printed:
    """What a command printed, and how it ended."""

    stdout: str
    stderr: str
    code: int


class Session:
    """A session in `folder`; `environment` is what its exports are replaced by, where their names are in it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        for part in ("examples", "infra/ray"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder
        self.replaced = environment
        self.temporary = Path(tempfile.mkdtemp(prefix="gl-"))  # short: Ray's sockets lie in it
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_", "GRIDLINE"))}
        self.env = kept | {
            "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}",
            "RAY_TMPDIR": str(self.temporary),
            "TMPDIR": str(self.temporary),
        }
        self.ports: dict[int, int] = {}
        self.background: list[tuple[subprocess.Popen[str], signal.Signals]] = []
        self.last = Printed("", "", 0)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, ending in reversed(self.background):
            process.send_signal(ending)
            process.communicate(timeout=TIMEOUT_S)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def run(self, command: str) -> Printed:
        """Run one command; one that stays in the foreground goes on until the session ends."""
        if command == "echo $?":
            return Printed(f"{self.last.code}\n", "", 0)
        self.last = self.run_beside(command)
        return self.last

    def run_beside(self, command: str) -> Printed:
        """Run one command that no other waits for; `echo $?` does not see it."""
        if command.startswith("export "):
            return self._export(command)
        if command == "make demo":
            return self._shell("python -m examples.demo", PYTHONPATH=str(ROOT))
        if command == "ray start --head" or command.startswith("gridline serve ") or " --follow " in command:
            return self._run_on(command)
        if assignment := re.fullmatch(r"([A-Z]+)=(\$\(.*\))", command):
            value = self._shell(f"printf %s {assignment[2]}")
            self.env[assignment[1]] = value.stdout
            return Printed("", value.stderr, value.code)
        return self._shell(command)

    def _run_on(self, command: str) -> Printed:
        """Start what stays in the foreground."""
        if command.startswith("gridline serve "):
            return self._serve(command)
        if command.startswith("ray "):
            return self._start_head()
        management = f"http://127.0.0.1:{self.ports[MANAGEMENT]}"
        self._start([*shlex.split(command), "--management", management], signal.SIGTERM)
        return Printed("", "", 0)

    def _export(self, command: str) -> Printed:
        for assignment in shlex.split(command)[1:]:
            name, _, value = assignment.partition("=")
            if name != "PATH":  # the one of this session begins as the README's does
                self.env[name] = self.replaced.get(name, self._with_ports(value))
        return Printed("", "", 0)

    def _shell(self, command: str, **more: str) -> Printed:
        done = subprocess.run(
            ["bash", "-c", self._with_ports(command)],
            cwd=self.folder,
            env=self.env | more,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Printed(re.sub(r"\x1b\[\d*m", "", done.stdout), done.stderr, done.returncode)

    def _serve(self, command: str) -> Printed:
        ports = free_ports(len(SERVE_PORTS))
        self.ports |= {INFERENCE: ports[0], MANAGEMENT: ports[1]}
        options = [str(word) for pair in zip(SERVE_PORTS, ports, strict=True) for word in pair]
        process = self._start([*shlex.split(command), *options], signal.SIGINT)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        return Printed("".join(lines), "", process.poll() or 0)

    def _start_head(self) -> Printed:
        ports = free_ports(len(HEAD_PORTS))
        self.ports[DASHBOARD] = ports[0]
        options = [str(word) for pair in zip(HEAD_PORTS, ports, strict=True) for word in pair]
        head = ["ray", "start", "--head", "--block", "--disable-usage-stats", "--temp-dir", str(self.temporary / "ray")]
        process = self._start([*head, *options], signal.SIGTERM)
        wait_for_port(ports[0], process)
        return Printed("", "", 0)

    def _start(self, words: list[str], ending: signal.Signals) -> subprocess.Popen[str]:
        log = (self.temporary / f"{words[0]}.log").open("w")
        out = subprocess.PIPE if words[0] == "gridline" else log
        program = str(BIN / words[0])
        process = subprocess.Popen(
            [program, *words[1:]], cwd=self.folder, env=self.env, stdout=out, stderr=log, text=True
        )
        log.close()
        self.background.append((process, ending))
        return process

    def _with_ports(self, text: str) -> str:
        for usual, port in self.ports.items():
            text = text.replace(f":{usual}", f":{port}")
        return text


def aws_variables(settings: S3Settings) -> dict[str, str]:
    """Return the variables with which a session reaches an S3 server."""
    return {
        "AWS_ENDPOINT_URL": settings.endpoint_url or "",
        "AWS_ACCESS_KEY_ID": settings.access_key_id or "",
        "AWS_SECRET_ACCESS_KEY": settings.secret_access_key or "",
    }


def free_ports(number: int) -> list[int]:
    """Return ports that are free now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until a process listens to a port of the loopback interface."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None and time.monotonic() < deadline, f"nobody listens to port {port}"
        time.sleep(0.05)
