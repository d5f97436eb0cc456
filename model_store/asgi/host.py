"""The process that holds a server's sockets: it serves the management API, and starts the workers.

It parses no request for predictions and loads no models, so no caller can stop it.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from pathlib import Path

import uvicorn

from model_store.asgi.host_pool import HostPool
from model_store.asgi.keys import Keys, read_keys
from model_store.asgi.management import ManagementApp
from model_store.asgi.refusals import RefusedError
from model_store.asgi.registry import Registry
from model_store.asgi.settings import HostSettings, configuration, configure_log
from model_store.deployment.errors import ServerError
from model_store.serving.settings import LOOPBACK, ServerSettings

BACKLOG = 2048  # connections that wait for a worker, also while one is replaced
FAILED = 1
logger = logging.getLogger(__name__)


def main(settings_file: Path) -> int:
    """Serve until SIGTERM; return the exit code."""
    configure_log()
    settings = HostSettings.read(settings_file)
    _raise_limit_of_connections()
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn handles it, and then raises it again
    try:
        keys = read_keys(Path(settings.keys)) if settings.keys else None
        listener = _bind(settings.host, settings.inference_port)
        management = _bind(LOOPBACK, settings.management_port)
    except OSError as exc:
        logger.error("a port can't be bound: %s", exc)
        return FAILED
    except ServerError as exc:
        logger.error("%s", exc)
        return FAILED
    return asyncio.run(_serve(settings, keys, listener, management))


async def _serve(settings: HostSettings, keys: Keys | None, listener: socket.socket, management: socket.socket) -> int:
    of = ServerSettings(Path(settings.folder))
    pool = HostPool(settings.worker, listener, of.temporary)
    registry = Registry(pool, of.model_store, of.unpacked, of.key_file, settings.workers, keys)
    watching = asyncio.create_task(pool.watch())
    try:
        await registry.start(settings.archive)
        server = uvicorn.Server(configuration(ManagementApp(registry), settings.worker.grace_s))
        await server.serve(sockets=[management])
    except RefusedError as exc:
        logger.error("%s", exc.response.body.decode())
        return FAILED
    finally:
        watching.cancel()
        await pool.stop(settings.worker.grace_s)
    return 0


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _raise_limit_of_connections() -> None:
    """Allow as many open connections as the system lets: the usual 1,024 are soon taken by idle ones."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
