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
from model_store.asgi.management import ManagementApp
from model_store.asgi.refusals import RefusedError
from model_store.asgi.registry import Registry
from model_store.asgi.settings import HostSettings, configuration, configure_log
from model_store.deployment.errors import ServerError
from model_store.serving import child
from model_store.serving.child import Child, ChildHost
from model_store.serving.settings import LOOPBACK, ServerSettings
from model_store.torchserve.configuration import environment
from model_store.torchserve.management import why_not_ready

LOG, SETTINGS = "ray-serve.log", "ray-serve.json"
GRACE_S = 30.0
STOP_S = 10.0  # to remove the application from the cluster
FAILED = 1
CODE = Path(__file__).parents[2]
logger = logging.getLogger(__name__)


class RayServe(ChildHost):
    """A running application, a `Host`; `pid` is the process on this machine, which holds the management port."""

    name = "Ray Serve"

    def __init__(self, settings: ServerSettings, process: Child, archive: Archive) -> None:
        super().__init__(settings, process, settings.folder / LOG)
        self._archive = archive

    def problem(self) -> str | None:
        return why_not_ready(self.settings, self._archive)

    def drain(self, timeout_s: float) -> bool:
        """Remove the application: Ray Serve refuses new requests, and its replicas answer those that they have."""
        return self.end(time.monotonic() + timeout_s)

    def stop(self) -> None:
        self.drain(STOP_S)
        super().stop()


def start(settings: ServerSettings, archive: Archive, keep: Sequence[int] = ()) -> RayServe:
    """Start the process in its prepared folder, with an archive of its model store: it is not ready yet.

    It joins the cluster of RAY_ADDRESS, or starts one on this machine. Raises ServerError if it can't be started.
    """
    folder = settings.folder.resolve()
    HostSettings.of(settings, archive, GRACE_S).write(folder / SETTINGS)
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

    of = ServerSettings(Path(settings.folder))
    limit, grace_s = settings.worker.max_request_size_bytes, settings.worker.grace_s
    pool = ray_serve.ReplicaPool(of.control, limit, grace_s)
    registry = Registry(pool, of.model_store, of.unpacked, of.key_file, settings.workers)
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
