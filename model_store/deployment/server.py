"""The methods of a server that a deployment calls: TorchServe (model_store/torchserve/management.py) or another.

docs/extending.md shows how to add one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from model_store.archives.archive import Archive

Api = Literal["inference", "management"]


@dataclass(frozen=True)
class Worker:
    """A worker process of a version."""

    id: str
    pid: int
    is_ready: bool


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a model that a server holds, by the file name of its archive; `num_pending` requests wait for it."""

    version: str
    file_name: str
    min_workers: int
    workers: tuple[Worker, ...]
    num_pending: int

    @property
    def num_ready(self) -> int:
        return sum(worker.is_ready for worker in self.workers)


class Server(Protocol):
    """A server that holds versions of models; the default version answers requests that name none.

    Every method may raise ServerError.
    """

    def models(self) -> Sequence[str]:
        """Return the names of the registered models."""

    def versions(self, model: str) -> Sequence[RegisteredVersion]:
        """Return the registered versions of a model; none if it is not registered."""

    def default_version(self, model: str) -> str | None:
        """Return the version that a request without one gets, or None if the model is not registered."""

    def describe(self, model: str, version: str) -> RegisteredVersion:
        """Return one registered version, with the state of its workers."""

    def example(self, model: str, version: str) -> Mapping[str, Any] | None:
        """Return a request and its answer as a worker of the version gives them."""

    def register(self, archive: Archive, workers: int) -> None:
        """Bring an archive to the server and start its workers; it is not the default yet. A failure leaves no file."""

    def set_default(self, model: str, version: str) -> None:
        """Make requests without a version go to this one."""

    def scale(self, model: str, version: str, workers: int) -> None:
        """Set the number of workers of a version, and wait for them; a stopped worker loses its requests."""

    def unregister(self, model: str, version: str) -> None:
        """Remove a version, its workers and its archive; the default can only go last."""

    def rotate_key(self, api: Api) -> None:
        """Make a new key for an API, which is in the server's key file when this returns; no worker stops.

        From then on the server takes the new key and refuses the old one. It may refuse the old one a moment before
        the file has the new one, so a client that is refused reads the file until it has another key, for half a
        second. The file stays readable by its owner alone, and the key that makes new keys stays as it is.
        """
