"""The management API, on its own port: the part of TorchServe's that gridline uses, with its words and statuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from model_store.asgi import refusals
from model_store.asgi.keys import is_key
from model_store.asgi.messages import Receive, Scope, Send, headers_of, parameters_of, respond
from model_store.asgi.refusals import RefusedError, Response
from model_store.asgi.registry import Registry
from model_store.asgi.table import Registered

if TYPE_CHECKING:
    from model_store.deployment.server import Api

MAX_WORKERS = 1024
APIS: dict[str, Api] = {"inference": "inference", "management": "management"}
Parameters = Mapping[str, str]


class ManagementApp:
    """Responds to requests to manage models: /models with the management key, /token with the key for that."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = scope["path"].rstrip("/").split("/")[1:]
        try:
            key = headers_of(scope).get("authorization", "")
            answer = await self._answer(scope["method"], parts, parameters_of(scope), key)
        except RefusedError as exc:
            answer = exc.response
        await respond(send, answer)

    async def _answer(self, method: str, parts: Sequence[str], parameters: Parameters, key: str) -> Response:
        if parts == ["token"]:
            return await self._rotate(method, parameters.get("type", ""), key)
        if not is_key(key, self._registry.keys.management):
            return refusals.no_key()
        if not parts or parts[0] != "models" or len(parts) > 4:
            return refusals.no_resource()
        if len(parts) == 4:
            return await self._set_default(method, parts)
        actions: dict[str, Callable[[Sequence[str], Parameters], Awaitable[Response]]] = {
            "GET": self._describe,
            "POST": self._register,
            "PUT": self._scale,
            "DELETE": self._unregister,
        }
        return await actions[method](parts[1:], parameters) if method in actions else refusals.no_method()

    async def _rotate(self, method: str, kind: str, key: str) -> Response:
        if method != "GET":
            return refusals.no_method()
        if not is_key(key, self._registry.keys.tokens) or kind not in APIS:
            return refusals.no_key("Authentication")
        await self._registry.rotate(APIS[kind])
        return Response(HTTPStatus.OK, b"")

    async def _describe(self, parts: Sequence[str], parameters: Parameters) -> Response:
        """Describe the default version of each collection, or one version, or all versions of a collection."""
        registry = self._registry
        if not parts:
            shown = [registry.find(collection, None) for collection in registry.table.defaults]
            models = [{"modelName": one.collection, "modelUrl": one.file_name} for one in shown]
            return refusals.said(HTTPStatus.OK, {"models": models})
        first = registry.find(parts[0], parts[1] if len(parts) == 2 and parts[1] != "all" else None)
        wanted = registry.table.of(parts[0]) if parts[1:] == ["all"] else (first,)
        entries = [self._entry(one) for one in wanted]
        if parameters.get("customized") == "true":
            entries = [
                {**entry, "customizedMetadata": await registry.description(one)}
                for entry, one in zip(entries, wanted, strict=True)
            ]
        return refusals.said(HTTPStatus.OK, entries)

    async def _register(self, parts: Sequence[str], parameters: Parameters) -> Response:
        if parts:
            return refusals.no_method()
        if "url" not in parameters:
            return refusals.wrong("Parameter url is required.")
        workers = _count(parameters, "initial_workers", 0)
        new = await self._registry.register(parameters["url"], workers)
        status = f'Model "{new.collection}" Version: {new.version} registered with {workers} initial workers'
        return refusals.said(HTTPStatus.OK, {"status": status})

    async def _scale(self, parts: Sequence[str], parameters: Parameters) -> Response:
        one = self._find(parts)
        workers = _count(parameters, "min_worker", 1)
        await self._registry.scale(one.collection, one.version, workers)
        status = f"Workers scaled to {workers} for model: {one.collection}, version: {one.version}"
        return refusals.said(HTTPStatus.OK, {"status": status})

    async def _unregister(self, parts: Sequence[str], parameters: Parameters) -> Response:
        one = self._find(parts)
        await self._registry.unregister(one.collection, one.version)
        return refusals.said(HTTPStatus.OK, {"status": f'Model "{one.collection}" unregistered'})

    async def _set_default(self, method: str, parts: Sequence[str]) -> Response:
        if method != "PUT" or parts[3] != "set-default":
            return refusals.no_resource()
        await self._registry.set_default(parts[1], parts[2])
        status = f'Default version successfully updated for model "{parts[1]}" to "{parts[2]}"'
        return refusals.said(HTTPStatus.OK, {"status": status})

    def _find(self, parts: Sequence[str]) -> Registered:
        if not parts:
            raise RefusedError(refusals.no_method())
        return self._registry.find(parts[0], parts[1] if len(parts) == 2 else None)

    def _entry(self, one: Registered) -> Mapping[str, Any]:
        """Return a version as TorchServe describes it; nothing waits, since each worker takes what it answers."""
        return {
            "modelName": one.collection,
            "modelVersion": one.version,
            "modelUrl": one.file_name,
            "runtime": "python",
            "minWorkers": one.workers,
            "maxWorkers": one.workers,
            "batchSize": 1,
            "workers": self._registry.workers_of(one),
            "jobQueueStatus": {"pendingRequests": 0},
        }


def _count(parameters: Parameters, name: str, default: int) -> int:
    """Return a number of workers. Raises RefusedError."""
    text = parameters.get(name, str(default))
    if not text.isdecimal() or int(text) > MAX_WORKERS:
        raise RefusedError(refusals.wrong(f"Parameter {name} has to be a number from 0 to {MAX_WORKERS}."))
    return int(text)
