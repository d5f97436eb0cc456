"""A host whose workers are replicas of Ray Serve: a child process with the management port, as uvicorn has one.

`python -m jobs.cluster.ray_serve_host SETTINGS_FILE [ADDRESS]` is that process. It joins the cluster, and removes the
application from it when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from handler.errors import GridlineError
from model_store.archives.archive import Archive
from model_store.asgi.host import KEY_FILE, LOOPBACK, MODEL_STORE, UNPACKED
from model_store.asgi.management import ManagementApp
from model_store.asgi.registry import RefusedError, Registry
from model_store.asgi.settings import HostSettings, WorkerSettings, configuration, configure_log
from model_store.deployment.errors import ServerError
from model_store.serving import child
from model_store.serving.child import Child
from model_store.serving.settings import ServerSettings
from model_store.torchserve.configuration import environment
from model_store.torchserve.management import why_not_ready

LOG, SETTINGS, CONTROL = "ray-serve.log", "ray-serve.json", "control"
GRACE_S = 30.0
STOP_S = 10.0  # to remove the application from the cluster
POLL_INTERVAL_S = 0.05
FAILED = 1
CODE = Path(__file__).parents[2]
logger = logging.getLogger(__name__)


class RayServe:
    """A running application, a `Host`; `pid` is the process on this machine, which holds the management port."""

    name = "Ray Serve"

    def __init__(self, settings: ServerSettings, process: Child, archive: Archive) -> None:
        self.settings = settings
        self._process = process
        self._archive = archive

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return self.settings.folder / LOG

    def exit_code(self) -> int | None:
        return self._process.exit_code()

    def problem(self) -> str | None:
        return why_not_ready(self.settings, self._archive)

    def drain(self, timeout_s: float) -> bool:
        """Remove the application: Ray Serve refuses new requests, and its replicas answer those that they have."""
        deadline = time.monotonic() + timeout_s
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        while self.exit_code() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_INTERVAL_S)
        return True

    def stop(self) -> None:
        self.drain(STOP_S)
        self._process.kill()

    def log_tail(self) -> str:
        return child.last_lines(self.log_file)


def start(settings: ServerSettings, archive: Archive, keep: Sequence[int] = ()) -> RayServe:
    """Start the process in its prepared folder, with an archive of its model store: it is not ready yet.

    It joins the cluster of RAY_ADDRESS, or starts one on this machine. Raises ServerError if it can't be started.
    """
    folder, ports = settings.folder.resolve(), settings.ports
    worker = WorkerSettings(settings.max_request_size_bytes, GRACE_S, settings.access_log)
    names = (str(folder), archive.file_name)
    HostSettings(*names, settings.host, ports.inference, ports.management, settings.workers, worker).write(
        folder / SETTINGS
    )
    of_ray = {name: value for name, value in os.environ.items() if name.startswith("RAY_") or name == "HOME"}
    variables = {**environment(settings), **of_ray, "PYTHONPATH": str(CODE)}
    del variables["TMPDIR"]  # Ray's sockets would have too long paths in it
    command = [sys.executable, "-m", "jobs.cluster.ray_serve_host", str(folder / SETTINGS)]
    try:
        process = child.launch(command, folder, variables, folder / LOG, keep=keep)
    except OSError as exc:
        raise ServerError(f"the process of Ray Serve can't be started: {exc}") from exc
    return RayServe(settings, process, archive)


def main(settings_file: Path) -> int:
    """Serve until SIGTERM; return the exit code."""
    from jobs.cluster import ray_serve
    from jobs.cluster.ray_cluster import connect

    configure_log()
    settings = HostSettings.read(settings_file)
    signal.signal(signal.SIGTERM, _end)
    try:
        management = socket.create_server((LOOPBACK, settings.management_port))
        with connect(), ray_serve.started(settings.host, settings.inference_port):
            logging.getLogger("ray.serve").setLevel(logging.WARNING)  # it reports each change, several times
            return asyncio.run(_serve(settings, management))
    except (GridlineError, OSError) as exc:
        logger.error("%s", exc)
        return FAILED


async def _serve(settings: HostSettings, management: socket.socket) -> int:
    from jobs.cluster import ray_serve

    folder = Path(settings.folder)
    limit, grace_s = settings.worker.max_request_size_bytes, settings.worker.grace_s
    pool = ray_serve.ReplicaPool(folder / CONTROL, limit, grace_s)
    registry = Registry(pool, folder / MODEL_STORE, folder / UNPACKED, folder / KEY_FILE, settings.workers)
    try:
        await registry.start(settings.archive)
    except RefusedError as exc:
        logger.error("%s", " ".join(exc.response.body.decode().split()))
        return FAILED
    ray_serve.require_listener(settings.host, settings.inference_port)
    watching = asyncio.create_task(pool.watch())
    server = uvicorn.Server(configuration(ManagementApp(registry), grace_s))
    with suppress(KeyboardInterrupt):
        await server.serve(sockets=[management])
    watching.cancel()
    return 0


def _end(signum: int, frame: object) -> None:
    """End by SIGTERM before uvicorn handles it, and after uvicorn raises it again."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
