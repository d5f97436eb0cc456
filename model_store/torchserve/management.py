"""The management API of TorchServe: register, describe, set default, scale, unregister."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from model_store.torchserve.errors import KeyRefusedError, ServerError, ServerRefusedError
from model_store.torchserve.keys import BearerKey, KeyFile, is_key_refusal

TIMEOUT_S = 180.0  # registering waits for the workers
CONNECT_TIMEOUT_S = 5.0
READY = "READY"


@dataclass(frozen=True)
class Worker:
    """A worker process of a version."""

    id: str
    pid: int
    is_ready: bool


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a model that TorchServe has registered."""

    version: str
    file_name: str
    min_workers: int
    workers: tuple[Worker, ...]
    num_pending: int

    @property
    def num_ready(self) -> int:
        return sum(worker.is_ready for worker in self.workers)


class Management:
    """A client of the management API at `url`; a context manager. Raises ServerError and its kinds."""

    def __init__(self, url: str, key_file: KeyFile | None = None) -> None:
        self.url = url.rstrip("/")
        auth = None if key_file is None else BearerKey(key_file, "management")
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._client = httpx.Client(base_url=self.url, auth=auth, timeout=timeout, trust_env=False)

    def __enter__(self) -> Management:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def versions(self, model: str) -> tuple[RegisteredVersion, ...]:
        """Return the registered versions of a model; none if it is not registered."""
        try:
            found = self._call("GET", f"/models/{model}/all")
        except ServerRefusedError as exc:
            if exc.status == httpx.codes.NOT_FOUND:
                return ()
            raise
        return tuple(_version(entry) for entry in found)

    def default_version(self, model: str) -> str | None:
        """Return the version that a request without one gets, or None if the model is not registered."""
        try:
            return str(self._call("GET", f"/models/{model}")[0]["modelVersion"])
        except ServerRefusedError as exc:
            if exc.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def describe(self, model: str, version: str) -> RegisteredVersion:
        """Return one registered version."""
        return _version(self._call("GET", f"/models/{model}/{version}")[0])

    def describe_through_worker(self, model: str, version: str) -> Mapping[str, Any]:
        """Return what the handler says of itself: the request passes through the queue and a worker."""
        found: Mapping[str, Any] = self._call("GET", f"/models/{model}/{version}", customized="true")[0]
        return found

    def register(self, file_name: str, workers: int, batch_size: int = 1, max_batch_delay_ms: int = 0) -> None:
        """Register an archive of the model store, and wait until its workers are up; it is not the default yet.

        With a batch of more than one, a worker waits up to `max_batch_delay_ms` for others to answer at once.
        """
        batch = {"batch_size": batch_size, "max_batch_delay": max_batch_delay_ms}
        self._call("POST", "/models", url=file_name, initial_workers=workers, synchronous="true", **batch)

    def set_default(self, model: str, version: str) -> None:
        """Make requests without a version go to this one."""
        self._call("PUT", f"/models/{model}/{version}/set-default")

    def scale(self, model: str, version: str, workers: int) -> None:
        """Set the number of workers of a version, and wait until they are up; what a stopped worker holds is lost."""
        self._call("PUT", f"/models/{model}/{version}", min_worker=workers, max_worker=workers, synchronous="true")

    def unregister(self, model: str, version: str) -> None:
        """Remove a version; its workers end."""
        self._call("DELETE", f"/models/{model}/{version}")

    def _call(self, method: str, path: str, **parameters: str | int) -> Any:
        try:
            response = self._client.request(method, path, params=parameters or None)
        except httpx.HTTPError as exc:
            raise ServerError(
                f"TorchServe can't be reached at {self.url}: {type(exc).__name__} {exc}; is it running there?"
            ) from exc
        if is_key_refusal(response):
            raise KeyRefusedError(
                f"TorchServe at {self.url} refused the management key: set --token-file to its key_file.json",
                response.status_code,
            )
        if response.is_error:
            raise ServerRefusedError(
                f"TorchServe at {self.url} refused {method} {path}: {response.status_code} {_words(response)}",
                response.status_code,
            )
        return response.json()


def _words(response: httpx.Response) -> str:
    """Return what TorchServe says of a refusal, on one line."""
    try:
        said = response.json()
        text = str(said.get("message", said)) if isinstance(said, dict) else str(said)
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
