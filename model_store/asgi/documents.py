"""The documents of KServe's protocols beside predictions: whether a server or a model is ready, and what it is."""

from __future__ import annotations

from http import HTTPStatus

from handler.answers.bodies import to_json
from handler.description import protocols
from handler.hosting.control import draining_answer
from model_store.asgi import refusals
from model_store.asgi.messages import Sendable
from model_store.asgi.models import LoadedModels
from model_store.asgi.refusals import Response
from model_store.asgi.routes import Route


def document(route: Route, loaded: LoadedModels, *, is_draining: bool) -> Sendable:
    """Return what an address of another kind than `endpoint` and `ping` tells."""
    if route.kind == "server":
        return _said(protocols.server())
    if route.kind == "live":
        return _said(protocols.live())
    if is_draining:
        return draining_answer()
    if route.kind == "ready":
        return _said(protocols.ready()) if loaded.is_ready else refusals.not_ready()
    endpoint = loaded.find(route.collection, route.version)
    if isinstance(endpoint, Response):
        return endpoint
    tell = protocols.model if route.kind == "model" else protocols.model_ready
    return _said(tell(endpoint.fleet))


def _said(found: protocols.Json) -> Response:
    return Response(HTTPStatus.OK, to_json(found))
