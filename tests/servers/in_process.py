"""A server in this process: it serves archives by the handler's own code, without a worker or a port."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.answers.answering import Answer
from handler.description.description import describe
from handler.errors import HandlerError
from handler.hosting.endpoint import Endpoint
from handler.hosting.rollout_watch import RolloutWatch
from handler.models import fleet_files
from handler.requests.payload import Request
from model_store.archives.archive import MODEL_FOLDER, Archive
from model_store.deployment.errors import ServerError
from model_store.deployment.server import Api, RegisteredVersion, Worker


@dataclass
class _Loaded:
    """A registered version: what it was loaded from, and how many workers it is to have."""

    endpoint: Endpoint
    file_name: str
    workers: int


class InProcessServer:
    """A `Server` of unpacked archives below `folder`, whose workers read the folder `control`, if there is one.

    `before` is called ahead of each change and each example, with the verb and the version, and may raise ServerError;
    `num_pending` says how many requests wait for a version.
    """

    def __init__(self, folder: Path, control: Path | None = None) -> None:
        self.before: Callable[[str, str], None] = lambda verb, version: None
        self.num_pending: Callable[[str], int] = lambda version: 0
        self._folder, self._control = folder, control
        self._loaded: dict[str, dict[str, _Loaded]] = {}
        self._default: dict[str, str] = {}

    def predict(self, model: str, request: Mapping[str, Any], version: str | None = None) -> Answer:
        """Return the answer to a request, by the default version unless one is named."""
        loaded = self._of(model, version or self._default.get(model, "none"))
        if not loaded.workers:
            raise ServerError(f"version {version} of '{model}' has no workers")
        asked = Request(json.dumps(request).encode(), names_version=version is not None)
        return loaded.endpoint.respond([asked])[0]

    def models(self) -> tuple[str, ...]:
        self.before("models", "")
        return tuple(self._loaded)

    def versions(self, model: str) -> tuple[RegisteredVersion, ...]:
        return tuple(self.describe(model, version) for version in self._loaded.get(model, {}))

    def default_version(self, model: str) -> str | None:
        return self._default.get(model)

    def describe(self, model: str, version: str) -> RegisteredVersion:
        loaded = self._of(model, version)
        workers = tuple(Worker(str(number), os.getpid(), is_ready=True) for number in range(loaded.workers))
        return RegisteredVersion(version, loaded.file_name, loaded.workers, workers, self.num_pending(version))

    def example(self, model: str, version: str) -> Mapping[str, Any] | None:
        self.before("example", version)
        found: Mapping[str, Any] = describe(self._of(model, version).endpoint.fleet)["example"]
        return found

    def register(self, archive: Archive, workers: int) -> None:
        version = str(archive.version)
        self.before("register", version)
        unpacked = self._folder / archive.file_name
        try:
            with zipfile.ZipFile(archive.path) as file:
                file.extractall(unpacked, [name for name in file.namelist() if name.startswith(f"{MODEL_FOLDER}/")])
            endpoint = Endpoint(fleet_files.read(unpacked / MODEL_FOLDER))
        except (HandlerError, OSError, zipfile.BadZipFile) as exc:
            shutil.rmtree(unpacked, ignore_errors=True)
            raise ServerError(f"{archive.file_name} can't be loaded: {exc}") from exc
        if self._control is not None:
            RolloutWatch(endpoint, self._control).start()
        self._loaded.setdefault(archive.collection, {})[version] = _Loaded(endpoint, archive.file_name, workers)
        self._default.setdefault(archive.collection, version)

    def set_default(self, model: str, version: str) -> None:
        self.before("set_default", version)
        self._of(model, version)
        self._default[model] = version

    def scale(self, model: str, version: str, workers: int) -> None:
        self.before("scale", version)
        self._of(model, version).workers = workers

    def unregister(self, model: str, version: str) -> None:
        self.before("unregister", version)
        file_name = self._of(model, version).file_name
        if version == self._default[model] and len(self._loaded[model]) > 1:
            raise ServerError(f"version {version} of '{model}' is the default: it can only go last")
        del self._loaded[model][version]
        shutil.rmtree(self._folder / file_name)
        if not self._loaded[model]:
            del self._loaded[model], self._default[model]

    def rotate_key(self, api: Api) -> None:
        raise ServerError(f"a server in the process has no {api} key")

    def _of(self, model: str, version: str) -> _Loaded:
        try:
            return self._loaded[model][version]
        except KeyError as exc:
            raise ServerError(f"version {version} of '{model}' is not registered") from exc
