"""The management API of TorchServe: register, describe, set default, scale, unregister."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from model_store.archives.archive import Archive
from model_store.deployment.errors import ServerError, ServerRefusedError
from model_store.deployment.server import Api, RegisteredVersion, Worker
from model_store.serving.settings import ServerSettings
from model_store.torchserve.client import BearerKey, Client

TIMEOUT_S = 180.0  # registering waits for the workers
EXAMPLE_TIMEOUT_S = 20.0
READY = "READY"
PARTIAL = ".partial"
OF_COLLECTION = r"{}-\d+-[0-9a-f]{{12}}[.]mar"  # the file names of a collection's archives


class Management(Client):
    """A client of the management API at `url`, and a `Server` to deploy on.

    `model_store` is the folder that TorchServe loads archives from, if this process can write to it.
    """

    def __init__(
        self,
        url: str,
        key_file: Path | None = None,
        model_store: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__(url, "management", key_file, timeout_s)
        self._key_file = key_file
        self._model_store = model_store

    def models(self) -> tuple[str, ...]:
        names: list[str] = []
        start: str | None = "0"
        while start is not None:
            page: Mapping[str, Any] = self._call("GET", "/models", next_page_token=start)
            names += [str(one["modelName"]) for one in page["models"]]
            start = page.get("nextPageToken")
        return tuple(names)

    def versions(self, model: str) -> tuple[RegisteredVersion, ...]:
        return tuple(map(_version, self._registered(f"/models/{model}/all")))

    def default_version(self, model: str) -> str | None:
        default = self._registered(f"/models/{model}")
        return str(default[0]["modelVersion"]) if default else None

    def _registered(self, path: str) -> list[Mapping[str, Any]]:
        """Return the entries at `path`; none if the model is not registered."""
        try:
            entries: list[Mapping[str, Any]] = self._call("GET", path)
        except ServerRefusedError as exc:
            if exc.status == httpx.codes.NOT_FOUND:
                return []
            raise
        return entries

    def describe(self, model: str, version: str) -> RegisteredVersion:
        return _version(self._call("GET", f"/models/{model}/{version}")[0])

    def describe_through_worker(
        self, model: str, version: str, timeout_s: float = EXAMPLE_TIMEOUT_S
    ) -> Mapping[str, Any]:
        """Return the handler's description of itself: the request passes through the queue and a worker.

        Raises ServerError after `timeout_s` without an answer.
        """
        path = f"/models/{model}/{version}"
        response = self._send("GET", path, params={"customized": "true"}, timeout=timeout_s)
        description: Mapping[str, Any] = self._document(response, "GET", path)[0]
        return description

    def example(self, model: str, version: str) -> Mapping[str, Any] | None:
        """Return the example of the handler's description, or None if it describes no model of gridline."""
        described = self.describe_through_worker(model, version).get("customizedMetadata")
        return described.get("example") if isinstance(described, dict) else None

    def register(self, archive: Archive, workers: int) -> None:
        """Copy an archive into the model store and load it; it is not the default yet. A failure leaves no file."""
        if self._model_store is None:
            raise ServerError(f"the folder that TorchServe at {self.url} loads archives from is not known")
        self._clean(self._model_store, archive.collection)
        _copy(archive.path, self._model_store / archive.file_name)
        try:
            self.load(archive.file_name, workers)
        except ServerError:
            self._delete(archive.file_name)
            raise

    def _clean(self, model_store: Path, model: str) -> None:
        """Remove what a killed deployment left: a half of an archive, or an archive that is not registered."""
        registered = {one.file_name for one in self.versions(model)}
        with _removing(model_store):
            for path in model_store.glob(f"*{model}-*"):
                name = path.name.removeprefix(".").removesuffix(PARTIAL)
                if re.fullmatch(OF_COLLECTION.format(re.escape(model)), name) and path.name not in registered:
                    path.unlink(missing_ok=True)

    def load(self, file_name: str, workers: int, batch_size: int = 1, max_batch_delay_ms: int = 0) -> None:
        """Register an archive of the model store, and wait until its workers are up; it is not the default yet.

        With a batch of more than one, a worker waits up to `max_batch_delay_ms` for others to answer at once.
        """
        batch = {"batch_size": batch_size, "max_batch_delay": max_batch_delay_ms}
        self._call("POST", "/models", url=file_name, initial_workers=workers, synchronous="true", **batch)

    def set_default(self, model: str, version: str) -> None:
        self._call("PUT", f"/models/{model}/{version}/set-default")

    def scale(self, model: str, version: str, workers: int) -> None:
        self._call("PUT", f"/models/{model}/{version}", min_worker=workers, max_worker=workers, synchronous="true")

    def unregister(self, model: str, version: str) -> None:
        """Remove a version, and its archive from the model store; its workers end."""
        file_name = self.describe(model, version).file_name
        self._call("DELETE", f"/models/{model}/{version}")
        self._delete(file_name)

    def rotate_key(self, api: Api) -> None:
        """Make a new key for an API: see `Server`. The key that allows it is in the key file too."""
        if self._key_file is None:
            raise ServerError("a key is rotated with the server's key file, which has the key for that: set its path")
        response = self._send("GET", "/token", params={"type": api}, auth=BearerKey(self._key_file, "API"))
        if response.is_error:
            raise ServerRefusedError(
                f"the server at {self.url} made no new {api} key: {response.status_code} {_message(response)}",
                response.status_code,
            )

    def _delete(self, file_name: str) -> None:
        """Remove an archive from the model store; a name that is a path is not from gridline."""
        if self._model_store is not None and Path(file_name).name == file_name:
            with _removing(self._model_store):
                (self._model_store / file_name).unlink(missing_ok=True)

    def _call(self, method: str, path: str, **parameters: str | int) -> Any:
        return self._document(self._send(method, path, params=parameters or None), method, path)

    def _document(self, response: httpx.Response, method: str, path: str) -> Any:
        if response.is_error:
            raise ServerRefusedError(
                f"TorchServe at {self.url} refused {method} {path}: {response.status_code} {_message(response)}",
                response.status_code,
            )
        return response.json()


def _copy(source: Path, path: Path) -> None:
    """Copy a file so that it appears as a whole. Raises ServerError, and leaves nothing then."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, partial)
        partial.replace(path)
    except OSError as exc:
        raise ServerError(f"{path} can't be written: {exc.strerror}; make room there, or check --model-store") from exc
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _removing(model_store: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ServerError(f"{exc.filename} can't be removed from {model_store}: {exc.strerror}") from exc


def why_not_ready(settings: ServerSettings, archive: Archive) -> str | None:
    """Return why the workers of an archive are not ready, or None. Raises ServerError if they never will be."""
    model, version, workers = archive.collection, str(archive.version), settings.workers
    with Management(settings.management_url, settings.key_file) as management:
        try:
            num_ready = management.describe(model, version).num_ready
        except ServerRefusedError as exc:
            if exc.status == httpx.codes.NOT_FOUND:
                raise ServerError(f"the server did not load version {version} of '{model}': see its log") from exc
            return str(exc)
        except ServerError as exc:
            return str(exc)
    return None if num_ready >= workers else f"{num_ready} of {workers} workers are ready"


def _message(response: httpx.Response) -> str:
    """Return the message of a refusal, on one line."""
    try:
        error = response.json()
        text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except ValueError:
        text = response.text
    return " ".join(text.split())[:300]


def _version(entry: Mapping[str, Any]) -> RegisteredVersion:
    workers = tuple(
        Worker(str(worker["id"]), int(worker["pid"]), worker["status"] == READY) for worker in entry["workers"]
    )
    pending = int(entry["jobQueueStatus"]["pendingRequests"])
    return RegisteredVersion(
        str(entry["modelVersion"]), str(entry["modelUrl"]), int(entry["minWorkers"]), workers, pending
    )
