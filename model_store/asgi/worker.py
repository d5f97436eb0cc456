"""A worker process: uvicorn on the socket that all workers share, and orders from the process that started it.

An order is a line of JSON on a socket of its own, and has an answer: so who orders knows what every worker has loaded.
When that socket closes, the worker ends: its server is gone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch
import uvicorn
import uvloop

from handler.errors import HandlerError
from handler.hosting.control import Control, control_folder
from handler.requests.payload import Request
from model_store.asgi.app import InferenceApp
from model_store.asgi.models import Models, open_endpoint
from model_store.asgi.settings import WorkerSettings, configuration, configure_log
from model_store.asgi.table import Registered

MAX_LINE_BYTES = 1 << 24
LARGE_NICENESS = 10  # so that the system lets small requests go first
Json = dict[str, Any]


def run(settings: WorkerSettings, listener: socket.socket, orders: socket.socket) -> None:
    """Answer requests until SIGTERM, or the end of `orders`: the main function of a worker process."""
    torch.set_num_threads(1)
    if settings.is_for_large:
        os.nice(LARGE_NICENESS)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn handles it, and then raises it again
    configure_log(access_log=settings.access_log)
    models = Models(control_folder())
    models.report(is_reached=not settings.is_for_large)
    app = InferenceApp(models, settings.max_request_size_bytes, settings.large)
    server = uvicorn.Server(configuration(app, settings.grace_s, access_log=settings.access_log))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(server, models, listener, orders))


async def _serve(server: uvicorn.Server, models: Models, listener: socket.socket, orders: socket.socket) -> None:
    """Obey the first order, which loads the models, and then serve and obey until either ends."""
    reader, writer = await asyncio.open_unix_connection(sock=orders, limit=MAX_LINE_BYTES)
    if not await _obey(models, reader, writer):
        return
    gc.freeze()  # what is loaded stays: the collector need not look at it again and again
    obeying = asyncio.create_task(_obey_until_the_end(models, reader, writer))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.wait((obeying, serving), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    if obeying.done():
        obeying.result()
    writer.close()


async def _obey_until_the_end(models: Models, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await _obey(models, reader, writer):
        pass


async def _obey(models: Models, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Obey one order and answer it; return False if there will be no more."""
    line = await reader.readline()
    if not line.endswith(b"\n"):
        return False
    order: Json = json.loads(line)
    done = await _do(models, order)
    writer.write(json.dumps({"id": order["id"], **done}).encode() + b"\n")
    return True


async def _do(models: Models, order: Mapping[str, Any]) -> Json:
    """Return what an order gives; its `error` is one line."""
    loop = asyncio.get_running_loop()
    try:
        if order["do"] == "load":
            await loop.run_in_executor(None, models.load, order)
        elif order["do"] == "describe":
            return {"description": await loop.run_in_executor(None, describe, models, order)}
    except HandlerError as exc:
        return {"error": str(exc)}
    return {}


def describe(models: Models, order: Mapping[str, Any]) -> Any:
    """Return the description that the endpoint of a version gives, or None if it is not loaded."""
    endpoint = models.loaded.endpoints.get((order["collection"], order["version"]))
    if endpoint is None:
        return None
    [answer] = endpoint.respond([Request(method="GET")])
    return json.loads(answer.body)


def try_out(one: Registered, result: Connection) -> None:
    """Load a version and describe it; send the error, or an empty text: the main function of a process for that."""
    torch.set_num_threads(1)
    try:
        open_endpoint(one, Control(None)).respond([Request(method="GET")])
    except HandlerError as exc:
        result.send(str(exc))
    else:
        result.send("")
