"""What the management API does: register an archive, choose the default version, scale, unregister, make new keys.

Each change is made known to all workers, and is over when all have it: a request that begins later is answered by it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import zipfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_store.archives.archive import MANIFEST, MODEL_FOLDER, check_archive
from model_store.asgi import refusals
from model_store.asgi.keys import Keys, new_keys
from model_store.asgi.pools import Pool
from model_store.asgi.refusals import RefusedError
from model_store.asgi.table import ModelTable, Registered
from model_store.asgi.worker_process import WorkerFailedError
from model_store.errors import CorruptObjectError

if TYPE_CHECKING:
    from model_store.deployment.server import Api

READY, LOADING = "READY", "LOADING"


class Registry:
    """The registered versions of a server and its keys. Changes are made one after the other."""

    def __init__(
        self, pool: Pool, model_store: Path, unpacked: Path, key_file: Path, workers: int, keys: Keys | None = None
    ) -> None:
        self._pool = pool
        self._model_store = model_store
        self._unpacked = unpacked
        self._key_file = key_file
        self._num_workers = workers
        self._changing = asyncio.Lock()
        self.table = ModelTable()
        self.keys = keys or new_keys()

    async def start(self, file_name: str) -> None:
        """Write the keys and start the workers, with the models of an archive. Raises RefusedError."""
        self.keys.write(self._key_file)
        await self.register(file_name, self._num_workers)

    async def register(self, file_name: str, workers: int) -> Registered:
        """Load an archive of the model store in all workers; the first version of a collection is its default."""
        async with self._changing:
            new = await asyncio.to_thread(self._unpack, file_name, workers)
            try:
                if workers:
                    await self._pool.try_out(new)
                await self._change(self.table.adding(new))
            except (WorkerFailedError, RefusedError) as exc:
                await asyncio.to_thread(shutil.rmtree, new.folder, ignore_errors=True)
                raise exc if isinstance(exc, RefusedError) else _failed(str(exc)) from exc
        return new

    async def set_default(self, collection: str, version: str) -> None:
        """Make requests without a version go to this one."""
        async with self._changing:
            await self._change(self.table.with_default(self.find(collection, version)))

    async def scale(self, collection: str, version: str, workers: int) -> None:
        """Set the number of workers of a version, and wait for them."""
        async with self._changing:
            await self._change(self.table.scaled(self.find(collection, version), workers))

    async def unregister(self, collection: str, version: str) -> None:
        """Remove a version and its unpacked models; the default one can only go last."""
        async with self._changing:
            gone = self.find(collection, version)
            if version == self.table.defaults[collection] and len(self.table.of(collection)) > 1:
                message = f"Cannot remove default version for model {collection}"
                raise RefusedError(refusals.refused(HTTPStatus.FORBIDDEN, "InvalidModelVersionException", message))
            await self._change(self.table.without(gone))
            await asyncio.to_thread(shutil.rmtree, gone.folder, ignore_errors=True)

    async def rotate(self, api: Api) -> None:
        """Make a new key for an API, and write the key file; the old key is refused from then on."""
        async with self._changing:
            keys = self.keys.rotated(api)
            await asyncio.to_thread(keys.write, self._key_file)
            self.keys = keys
            await self._change(self.table)

    async def description(self, one: Registered) -> Any:
        """Return the description of a version by a worker, or None if it has none."""
        order = {"do": "describe", "collection": one.collection, "version": one.version}
        try:
            return (await self._pool.ask(order))["description"]
        except WorkerFailedError as exc:
            raise _failed(str(exc)) from exc

    def find(self, collection: str, version: str | None) -> Registered:
        """Return a version, or the default one. Raises RefusedError if it is not registered."""
        wanted = self.table.defaults.get(collection) if version is None else version
        if collection not in self.table.defaults or wanted is None:
            raise RefusedError(refusals.no_model(collection))
        found = self.table.find(collection, wanted)
        if found is None:
            raise RefusedError(refusals.no_version(collection, wanted))
        return found

    def workers_of(self, one: Registered) -> list[Mapping[str, Any]]:
        """Return the workers that answer for a version, as TorchServe describes them."""
        return [
            {
                "id": str(worker.number),
                "startTime": worker.start_time.isoformat(),
                "status": READY if worker.is_ready else LOADING,
                "pid": worker.pid,
            }
            for worker in self._pool.workers.values()
            if one.workers
        ]

    async def _change(self, table: ModelTable) -> None:
        """Have all workers load a table, and make it the registered one; if one fails, they keep the former."""
        try:
            await self._load(table)
        except WorkerFailedError as exc:
            await self._load(self.table)
            raise _failed(str(exc)) from exc
        self.table = table

    async def _load(self, table: ModelTable) -> None:
        models = {"table": table.to_document(), "key": self.keys.inference}
        await self._pool.load(models, max(self._num_workers, table.num_workers))

    def _unpack(self, file_name: str, workers: int) -> Registered:
        """Check an archive of the model store, and unpack its models. Raises RefusedError."""
        path, folder = self._model_store / file_name, self._unpacked / Path(file_name).stem
        if Path(file_name).name != file_name or path.is_symlink() or not path.is_file():
            message = f"Model not found at: {file_name}"
            raise RefusedError(refusals.refused(HTTPStatus.NOT_FOUND, "ModelNotFoundException", message))
        try:
            check_archive(path)
            with zipfile.ZipFile(path) as archive:
                model = json.loads(archive.read(MANIFEST))["model"]
                collection, version = str(model["modelName"]), str(model["modelVersion"])
                if self.table.find(collection, version) is not None:
                    message = f"Model version {version} is already registered for model {collection}"
                    raise RefusedError(refusals.refused(HTTPStatus.CONFLICT, "ConflictStatusException", message))
                models = [name for name in archive.namelist() if name.startswith(f"{MODEL_FOLDER}/")]
                shutil.rmtree(folder, ignore_errors=True)
                archive.extractall(folder, models)
        except (CorruptObjectError, OSError, KeyError, ValueError) as exc:
            shutil.rmtree(folder, ignore_errors=True)
            raise _failed(f"{file_name} can't be loaded: {exc}") from exc
        return Registered(collection, version, file_name, str(folder), workers)


def _failed(message: str) -> RefusedError:
    return RefusedError(refusals.refused(HTTPStatus.INTERNAL_SERVER_ERROR, "WorkerInitializationException", message))
