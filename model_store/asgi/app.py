"""The ASGI application of the inference port: it turns what came into a `Request`, and an `Answer` into a response."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from handler.hosting.endpoint import Endpoint
from handler.requests.forms import is_form
from handler.requests.payload import Request
from model_store.asgi import refusals
from model_store.asgi.bodies import LARGE_BYTES, Body, BodyLimits, DisconnectedError
from model_store.asgi.documents import document
from model_store.asgi.forms import fields_of
from model_store.asgi.forwarding import Forwarder
from model_store.asgi.keys import is_key
from model_store.asgi.messages import Receive, Scope, Send, Sendable, headers_of, parameters_of, respond
from model_store.asgi.models import Models
from model_store.asgi.refusals import RefusedError, Response
from model_store.asgi.routes import Route, route_of

METHODS = ("GET", "HEAD", "POST")


class InferenceApp:
    """Answers requests about the models of a worker.

    A request with a large body goes on to the worker that listens at the socket `large`. Without one it is answered in
    a thread, one at a time: then small ones wait for the parts of it that hold the interpreter.
    """

    def __init__(self, models: Models, max_request_size_bytes: int, large: str | None = None) -> None:
        self._models = models
        self._limits = BodyLimits(max_request_size_bytes)
        self._forwarder = None if large is None else Forwarder(large, self._limits)
        self._control = models.control
        self._num_in_flight = 0
        self._thread = ThreadPoolExecutor(1, "large-requests")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begin()
        try:
            answer = await self._answer(scope, receive, send)
            if answer is not None:
                await respond(send, answer)
        except RefusedError as exc:
            await respond(send, exc.response)
        except DisconnectedError:
            pass
        finally:
            self._end()

    def _begin(self) -> None:
        """Count a request that is in flight. The first one takes the lock for which gridline waits at the end."""
        if not self._num_in_flight:
            self._control.__enter__()
        self._num_in_flight += 1

    def _end(self) -> None:
        self._num_in_flight -= 1
        if not self._num_in_flight:
            self._control.__exit__()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Sendable | None:
        """Return the answer, or None if another worker's was sent."""
        loaded = self._models.loaded
        headers = headers_of(scope)
        route = self._route(scope, headers, loaded.key)
        if isinstance(route, Response):
            return route
        if route.kind != "endpoint":
            return document(route, loaded, is_draining=self._control.is_draining)
        collection = route.collection or parameters_of(scope).get("model_name", "")
        endpoint = loaded.find(collection, route.version)
        if isinstance(endpoint, Response):
            return endpoint
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        body, more_body = message["body"], message["more_body"]
        if not more_body and len(body) <= LARGE_BYTES and "content-encoding" not in headers:
            return _respond(endpoint, route, scope, headers, body)
        if self._forwarder is not None:
            await self._forwarder.forward(scope, body, more_body, receive, send)
            return None
        return await self._answer_large(endpoint, route, scope, headers, receive if more_body else None, body)

    def _route(self, scope: Scope, headers: dict[str, str], key: str) -> Route | Response:
        """Return what the address asks; or an answer for which the body need not be read."""
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limits.limit_bytes:
            return refusals.too_large(self._limits.limit_bytes)
        if not is_key(headers.pop("authorization", ""), key):  # nothing behind this line sees the key
            return refusals.no_key()
        route = route_of(scope["path"])
        if route is None and scope["path"] != "/":
            return refusals.no_resource()
        if route is None or scope["method"] not in METHODS:
            return refusals.no_method()
        return refusals.HEALTHY if route.kind == "ping" else route

    async def _answer_large(
        self,
        endpoint: Endpoint,
        route: Route,
        scope: Scope,
        headers: Mapping[str, str],
        receive: Receive | None,
        body: bytes,
    ) -> Sendable:
        """Return the endpoint's answer to a large request, after the rest of its body is read, if there is more."""
        with Body(self._limits) as large:
            large.check(len(body))
            if receive is not None:
                body = await large.read(receive, body)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, _respond, endpoint, route, scope, headers, body)


def _respond(endpoint: Endpoint, route: Route, scope: Scope, headers: Mapping[str, str], body: bytes) -> Sendable:
    content_type = headers.get("content-type", "")
    # a POST with neither a body nor a type counts as a GET, as TorchServe's handlers can't tell them apart
    is_get = scope["method"] != "POST" or not (body or content_type)
    has_fields = not is_get and is_form(content_type.lower())
    request = Request(
        b"" if has_fields else body,
        content_type.lower(),
        route.dataset,
        route.explain,
        "GET" if is_get else "POST",
        headers,
        {name: value for name, value in parameters_of(scope).items() if is_get or name != "body"},
        fields_of(body, content_type) if has_fields else None,
        names_version=route.version is not None,
    )
    [answer] = endpoint.respond([request])
    return answer
