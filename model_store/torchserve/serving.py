"""Serve a version on this machine with TorchServe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from model_store.archives.archive import Archive
from model_store.serving import running
from model_store.serving.settings import ServerSettings
from model_store.torchserve.process import TorchServe, start


@contextmanager
def serving(archive: Archive, settings: ServerSettings) -> Iterator[TorchServe]:
    """Serve an archive until the block ends, however it ends; inside it, all workers are ready.

    Raises ServerError if the server does not start, or another one holds its folder or a port.
    """
    with running.reserved(settings) as lock, running.serving(start, archive, settings, lock) as server:
        yield server
