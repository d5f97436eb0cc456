"""Host the models of a server as a Ray Serve application, for those who have a cluster up.

The application of model_store/asgi/ answers in each replica. Its `user_config` has the registered versions, the default
ones, and the hash of the inference key. The process with the management port changes it; replicas load what is new
beside their requests, without a restart. No other module imports ray.serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import torch
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from handler.errors import HandlerError
from handler.hosting.control import Control
from jobs.errors import ClusterError, one_line
from model_store.asgi.app import InferenceApp
from model_store.asgi.keys import bearer
from model_store.asgi.messages import Receive, Scope, Send
from model_store.asgi.models import Models, open_endpoint
from model_store.asgi.table import Registered
from model_store.asgi.worker import describe
from model_store.asgi.worker_process import ANSWER_TIMEOUT_S, WorkerFailedError

APPLICATION = "gridline"
MAX_ONGOING_REQUESTS = 100  # of a replica; more wait in the proxy
POLL_INTERVAL_S = 0.1
WATCH_INTERVAL_S = 5.0
CONTACT_S = 5.0
FAILURES = (RayError, RayServeException, RuntimeError, ValueError, TimeoutError, ConnectionError)


class Replica:
    """A replica: it has all registered versions, and answers as a worker of uvicorn does."""

    def __init__(self, control: str, max_request_size_bytes: int) -> None:
        torch.set_num_threads(1)
        self._models = Models(Path(control) if Path(control).is_dir() else None)
        self._models.report()
        self._inference = InferenceApp(self._models, max_request_size_bytes)
        self._own_key = secrets.token_urlsafe()
        self._key_sha256 = b""
        self._state: dict[str, Any] = {"change": 0, "problem": None, "started_at": time.time(), "pid": os.getpid()}

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Load what is new. An error becomes part of the state: Ray Serve would replace the replica for ever."""
        problem = None
        try:
            await asyncio.to_thread(self._models.load, {"table": user_config["table"], "key": self._own_key})
            self._key_sha256 = bytes.fromhex(user_config["key_sha256"])
        except HandlerError as exc:
            problem = str(exc)
        except OSError as exc:
            problem = f"{exc}: set --folder to a folder that all nodes of the cluster share"
        self._state |= {"change": user_config["change"], "problem": problem}

    async def state(self) -> Mapping[str, Any]:
        """Return the number of the change that was loaded last, its problem, and the process."""
        return self._state

    async def describe(self, order: Mapping[str, Any]) -> Any:
        """Return the description of a version, or None if it is not loaded."""
        return await asyncio.to_thread(describe, self._models, order)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Its key is compared by hashes: who may see the cluster's dashboard sees `user_config`."""
        headers = [(name, self._exchanged(name, value)) for name, value in scope["headers"]]
        await self._inference({**scope, "headers": headers}, receive, send)

    def _exchanged(self, name: bytes, value: bytes) -> bytes:
        """Return the value of a header; of the right key, the replica's own, which nobody else knows."""
        if name != b"authorization":
            return value
        is_right = hmac.compare_digest(hashlib.sha256(value).digest(), self._key_sha256)
        return bearer(self._own_key) if is_right else b""


class Ingress:
    """The ASGI application that Ray Serve calls."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            replica = cast(Replica, serve.get_replica_context().servable_object)
            await replica.answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        else:
            await send({"type": "websocket.close"})


def ingress() -> Ingress:
    return Ingress()


@dataclass(frozen=True)
class ReplicaProcess:
    """A replica, as the management API describes workers."""

    number: int
    pid: int
    start_time: datetime
    is_ready: bool


class ReplicaPool:
    """The replicas of the application, in the place of worker processes: see model_store/asgi/pool.py."""

    def __init__(self, control: Path, max_request_size_bytes: int, grace_s: float) -> None:
        deployment = serve.deployment(
            name="models",
            max_ongoing_requests=MAX_ONGOING_REQUESTS,
            graceful_shutdown_timeout_s=grace_s,
        )(serve.ingress(ingress)(Replica))
        # of an equal version Ray Serve calls `reconfigure`; by itself it gives each call of `run` another one
        self._deployment = deployment.options(version=secrets.token_hex(8), _internal=True)
        self._arguments = (str(control), max_request_size_bytes)
        self._change = 0
        self.workers: Mapping[int, ReplicaProcess] = {}

    async def load(self, models: Mapping[str, Any], size: int) -> None:
        """Give every replica these models, and have `size` of them; return when all have loaded.

        Raises WorkerFailedError if one did not.
        """
        self._change += 1
        key_sha256 = hashlib.sha256(bearer(models["key"])).hexdigest()
        config = {"table": models["table"], "key_sha256": key_sha256, "change": self._change}
        try:
            states = await asyncio.to_thread(self._run, config, max(size, 1))
        except FAILURES as exc:
            raise WorkerFailedError(f"Ray Serve: {one_line(exc)}") from exc
        if problem := next((state["problem"] for state in states if state["problem"]), None):
            raise WorkerFailedError(problem)
        self._see(states)

    async def ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer of a replica to an order. Raises WorkerFailedError if none gives one."""
        response = serve.get_app_handle(APPLICATION).describe.remote(dict(order))
        try:
            return {"description": await asyncio.to_thread(response.result, timeout_s=ANSWER_TIMEOUT_S)}
        except FAILURES as exc:
            raise WorkerFailedError(f"Ray Serve: {one_line(exc)}") from exc

    async def try_out(self, one: Registered) -> None:
        """Open a version in this process, before replicas do. Raises WorkerFailedError."""
        try:
            await asyncio.to_thread(open_endpoint, one, Control(None))
        except (HandlerError, OSError) as exc:
            raise WorkerFailedError(str(exc)) from exc

    async def watch(self) -> None:
        """See which replicas are there; for ever. Ray Serve replaces those that die."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            try:
                self._see(await asyncio.to_thread(_states))
            except FAILURES:
                self.workers = {}

    def _see(self, states: Sequence[Mapping[str, Any]]) -> None:
        self.workers = {
            number: ReplicaProcess(
                number,
                state["pid"],
                datetime.fromtimestamp(state["started_at"], UTC),
                is_ready=state["change"] == self._change and not state["problem"],
            )
            for number, state in enumerate(states, 1)
        }

    def _run(self, config: Mapping[str, Any], size: int) -> Sequence[Mapping[str, Any]]:
        """Change the application; return the states of its replicas once all have loaded the change."""
        deployment = self._deployment.options(user_config=config, num_replicas=size)
        serve.run(deployment.bind(*self._arguments), name=APPLICATION, route_prefix="/")
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            states = _states()
            if len(states) == size and all(state["change"] == self._change for state in states):
                return states
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(states)} of {size} replicas answer, and not all have loaded the models")
            time.sleep(POLL_INTERVAL_S)


def _states() -> Sequence[Mapping[str, Any]]:
    handle = serve.get_app_handle(APPLICATION)
    return list(handle.broadcast("state").results(timeout_s=ANSWER_TIMEOUT_S))


@contextlib.contextmanager
def started(host: str, port: int) -> Iterator[None]:
    """Have Ray Serve on the cluster; the application that the block makes is gone after it.

    Raises ClusterError if the cluster has such an application already, or Ray Serve can't be started.
    """
    try:
        serve.start(http_options={"host": host, "port": port})
        present = APPLICATION in serve.status().applications
    except FAILURES as exc:
        raise ClusterError(f"Ray Serve can't be started on the cluster: {one_line(exc)}") from exc
    if present:
        raise ClusterError(
            f"the cluster serves an application '{APPLICATION}' already: stop the `gridline serve` that made it, or if "
            f"that was killed, remove it: python -c \"import ray; from ray import serve; ray.init('auto'); "
            f"serve.delete('{APPLICATION}')\""
        )
    try:
        yield
    finally:
        with contextlib.suppress(*FAILURES):
            serve.delete(APPLICATION)


def require_listener(host: str, port: int) -> None:
    """Raise ClusterError if Ray Serve does not listen here: one that was there before keeps its own address."""
    try:
        socket.create_connection((host, port), timeout=CONTACT_S).close()
    except OSError as exc:
        raise ClusterError(
            f"Ray Serve of this cluster does not listen at {host}:{port}: {one_line(exc)}; set --host and --port to "
            "its own address, or end it there with `serve shutdown`"
        ) from exc
