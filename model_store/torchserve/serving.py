"""Serve a version on this machine: copy its archive into a model store, start a server and wait for its workers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_store.archives.archive import Archive
from model_store.deployment.errors import ServerError, ServerRefusedError
from model_store.torchserve.management import Management
from model_store.torchserve.process import ServerSettings, TorchServe, start

READY_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.05


@contextmanager
def serving(archive: Archive, settings: ServerSettings) -> Iterator[TorchServe]:
    """Serve an archive until the block ends, however it ends; inside it, all workers are ready.

    Raises ServerError if the server does not start.
    """
    settings.model_store.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(archive.path, settings.model_store / archive.file_name)
    with start(settings, load_models=archive.file_name) as server:
        wait_until_ready(server, archive.collection, str(archive.version))
        yield server


def wait_until_ready(server: TorchServe, model: str, version: str) -> None:
    """Wait until every worker of a version is ready. Raises ServerError if the server ends, or time runs out."""
    settings = server.settings
    deadline = time.monotonic() + READY_TIMEOUT_S
    with Management(settings.management_url, settings.key_file) as management:
        while True:
            problem = _problem(management, model, version, settings.workers)
            if problem is None:
                return
            if server.exit_code() is not None:
                raise ServerError(f"TorchServe ended with code {server.exit_code()}: {server.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"TorchServe is not ready after {READY_TIMEOUT_S:.0f} s: {problem}; {server.log_tail()}"
                )
            time.sleep(POLL_INTERVAL_S)


def _problem(management: Management, model: str, version: str, workers: int) -> str | None:
    """Return why the version is not ready, or None. Raises ServerError if it never will be."""
    try:
        num_ready = management.describe(model, version).num_ready
    except ServerRefusedError as exc:
        if exc.status == 404:
            raise ServerError(f"TorchServe did not load version {version} of '{model}': see its log") from exc
        return str(exc)
    except ServerError as exc:
        return str(exc)
    return None if num_ready >= workers else f"{num_ready} of {workers} workers are ready"
