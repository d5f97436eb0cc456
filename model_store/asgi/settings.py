"""How uvicorn runs here: the same limits and log for the workers and for the management API."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvicorn

from model_store.archives.archive import Archive
from model_store.asgi.protocol import IDLE_TIMEOUT_S, BoundedProtocol
from model_store.serving.settings import ServerSettings

LOG_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


@dataclass(frozen=True)
class WorkerSettings:
    """How workers run: the limit of a body, the seconds that requests in flight have at the end, and the access log.

    `large` is the socket of the worker for large requests; that one itself has none, and `is_for_large`.
    """

    max_request_size_bytes: int
    grace_s: float
    access_log: bool
    large: str | None = None
    is_for_large: bool = False


@dataclass(frozen=True)
class HostSettings:
    """How the process that starts the workers runs; it loads `archive`, a file of the folder's model store."""

    folder: str
    archive: str
    host: str
    inference_port: int
    management_port: int
    workers: int
    worker: WorkerSettings
    keys: str | None = None

    @classmethod
    def of(cls, settings: ServerSettings, archive: Archive, grace_s: float) -> HostSettings:
        """Return how the process of a server runs that loads an archive of its model store."""
        return cls(
            str(settings.folder.resolve()),
            archive.file_name,
            settings.host,
            settings.ports.inference,
            settings.ports.management,
            settings.workers,
            WorkerSettings(settings.max_request_size_bytes, grace_s, settings.access_log),
            None if settings.keys is None else str(settings.keys.resolve()),
        )

    def write(self, path: Path) -> None:
        """Write the settings as JSON; they have no secrets."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> HostSettings:
        """Return the settings that `write` wrote."""
        document: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**document, "worker": WorkerSettings(**document["worker"])})


def configuration(app: Any, grace_s: float, *, access_log: bool = False) -> uvicorn.Config:
    """Return uvicorn's configuration for an application."""
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=access_log,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_TIMEOUT_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
    )


def configure_log(*, access_log: bool = False) -> None:
    """Log warnings to standard output, and with `access_log` a line for each request."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format=LOG_FORMAT)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings: one for each malformed request
    logging.getLogger("uvicorn.access").setLevel(logging.INFO if access_log else logging.WARNING)
