"""The models that a worker has loaded: the endpoint of each version, the default versions, and the inference key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler.errors import ArchiveFormatError
from handler.hosting.control import Control
from handler.hosting.endpoint import Endpoint
from handler.hosting.rollout_watch import RolloutWatch
from handler.hosting.worker_report import WorkerReport, every_second
from handler.models import fleet_files
from model_store.archives.archive import MODEL_FOLDER
from model_store.asgi import refusals
from model_store.asgi.refusals import Response
from model_store.asgi.table import ModelTable, Registered


@dataclass(frozen=True)
class LoadedModels:
    """The endpoints of the registered versions that have workers; `key` is that of the inference API."""

    table: ModelTable = field(default_factory=ModelTable)
    endpoints: Mapping[tuple[str, str], Endpoint] = field(default_factory=dict, repr=False)
    key: str = field(default="", repr=False)

    @property
    def is_ready(self) -> bool:
        """Whether there are collections, and the default version of each can answer."""
        return bool(self.table.defaults) and self.table.defaults.items() <= self.endpoints.keys()

    def find(self, collection: str, version: str | None) -> Endpoint | Response:
        """Return the endpoint of a version, or of the default one; or the refusal, in TorchServe's words."""
        wanted = self.table.defaults.get(collection) if version is None else version
        if wanted is None:
            return refusals.no_model(collection)
        endpoint = self.endpoints.get((collection, wanted))
        return self._missing(collection, wanted) if endpoint is None else endpoint

    def _missing(self, collection: str, version: str) -> Response:
        if collection not in self.table.defaults:
            return refusals.no_model(collection)
        is_registered = self.table.find(collection, version) is not None
        return refusals.no_workers(collection) if is_registered else refusals.no_version(collection, version)


class Models:
    """The loaded models of a worker, replaced as a whole: a request that has begun keeps what it began with."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder  # through which gridline's commands speak
        self.control = Control(folder)
        self.loaded = LoadedModels()

    def endpoints(self) -> Collection[Endpoint]:
        """Return the endpoints that are loaded now."""
        return self.loaded.endpoints.values()

    def report(self, *, is_reached: bool = True) -> None:
        """Report once a second what is served and counted, if the server has a control folder.

        A worker that only other workers reach counts, but is not among those that serve.
        """
        if self._folder is not None:
            every_second([WorkerReport(self.endpoints, self._folder, is_reached=is_reached).write])

    def load(self, document: Mapping[str, Any]) -> None:
        """Load what a document has, a table and a key. Raises HandlerError if files are not those of a version."""
        table = ModelTable.of_document(document["table"])
        endpoints = {
            (one.collection, one.version): self.loaded.endpoints.get((one.collection, one.version)) or self._open(one)
            for one in table.versions
            if one.workers
        }
        self.loaded = LoadedModels(table, endpoints, str(document["key"]))

    def _open(self, one: Registered) -> Endpoint:
        endpoint = open_endpoint(one, self.control)
        if self._folder is not None:
            RolloutWatch(endpoint, self._folder).start()
        return endpoint


def open_endpoint(one: Registered, control: Control) -> Endpoint:
    """Return the endpoint of a version, whose models are memory-mapped. Raises HandlerError if it is another's."""
    fleet = fleet_files.read(Path(one.folder) / MODEL_FOLDER)
    if (fleet.collection, str(fleet.version)) != (one.collection, one.version):
        raise ArchiveFormatError(
            f"{one.file_name} says that it is version {one.version} of '{one.collection}', and has the models of "
            f"version {fleet.version} of '{fleet.collection}': package it again"
        )
    return Endpoint(fleet, control)
