"""Serve an archive on this machine: reserve folder and ports, start a host, wait until it is ready, and stop it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_store.archives.archive import Archive
from model_store.deployment.errors import ServerError
from model_store.serving.folder import held, prepare, written
from model_store.serving.host import Host, Host_co, Start
from model_store.serving.ports import refuse_unusable
from model_store.serving.settings import ServerSettings

READY_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.05


@contextmanager
def reserved(settings: ServerSettings) -> Iterator[int]:
    """Hold the folder of a server until the block ends, prepared; yield its lock, for `serving` in the block.

    Raises ServerError if another live process holds the folder, or one of the ports can't be bound.
    """
    with held(settings.folder) as lock:
        refuse_unusable(settings)
        prepare(settings)
        yield lock


@contextmanager
def serving(start: Start[Host_co], archive: Archive, settings: ServerSettings, lock: int) -> Iterator[Host_co]:
    """Serve an archive until the block ends, however it ends; inside it, all workers are ready.

    `start` starts a host in the reserved folder. Raises ServerError if that fails.
    """
    with written(settings.folder):
        shutil.copyfile(archive.path, settings.model_store / archive.file_name)
        host = start(settings, archive, [lock])
    try:
        wait_until_ready(host)
        yield host
    finally:
        host.stop()


def wait_until_ready(host: Host) -> None:
    """Wait until every worker of the host's archive is ready. Raises ServerError if the host ends, or time runs out."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while (problem := host.problem()) is not None:
        if host.exit_code() is not None:
            raise ServerError(f"{host.name} ended with code {host.exit_code()}: {host.log_tail()}")
        if time.monotonic() > deadline:
            raise ServerError(f"{host.name} is not ready after {READY_TIMEOUT_S:.0f} s: {problem}; {host.log_tail()}")
        time.sleep(POLL_INTERVAL_S)
