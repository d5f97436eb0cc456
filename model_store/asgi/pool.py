"""The worker processes of a server: started from one process that has loaded all code, and replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import multiprocessing
import socket
import time
from collections.abc import Coroutine, Mapping
from multiprocessing.connection import Connection
from typing import Any

from model_store.asgi.settings import WorkerSettings
from model_store.asgi.table import Registered
from model_store.asgi.worker_process import ANSWER_TIMEOUT_S, WorkerDiedError, WorkerFailedError, WorkerProcess

WORKER = "model_store.asgi.worker"
WATCH_INTERVAL_S, WATCH_TIMEOUT_S = 5.0, 30.0
STEADY_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
logger = logging.getLogger(__name__)


class WorkerPool:
    """Workers that all have the same models. `listener` is the socket on which they wait for requests."""

    def __init__(self, settings: WorkerSettings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([WORKER])
        self._numbers = itertools.count(1)
        self._models: Mapping[str, Any] = {}
        self._size = 0
        self._starting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.workers: dict[int, WorkerProcess] = {}

    async def load(self, models: Mapping[str, Any], size: int) -> None:
        """Give every worker these models, and have `size` of them; return when all have loaded.

        Raises WorkerFailedError if one did not. One that dies meanwhile is replaced by one that has them.
        """
        self._models, self._size = models, size
        loading = (self._load_into(worker) for worker in list(self.workers.values()))
        done = await asyncio.gather(*loading, return_exceptions=True)
        for problem in done:
            if isinstance(problem, BaseException) and not isinstance(problem, WorkerDiedError):
                raise problem
        await self._fill()
        for worker in list(self.workers.values())[size:]:
            self._dismiss(worker)

    async def ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer of a worker to an order. Raises WorkerFailedError if none gives one."""
        for worker in list(self.workers.values()):
            if worker.is_ready:
                return await worker.order(order, ANSWER_TIMEOUT_S)
        raise WorkerFailedError("no worker is ready")

    async def try_out(self, one: Registered) -> None:
        """Load a version in a process of its own. Raises WorkerFailedError if that fails, or ends the process."""
        receiving, sending = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_try_out, args=(one, sending))
        await asyncio.to_thread(process.start)
        sending.close()
        try:
            if not await asyncio.to_thread(receiving.poll, ANSWER_TIMEOUT_S):
                raise WorkerFailedError(f"its models did not load within {ANSWER_TIMEOUT_S:.0f} s")
            problem = receiving.recv()
        except EOFError:
            raise WorkerFailedError("the process that loaded its models died: is there enough memory?") from None
        finally:
            process.kill()
            await asyncio.to_thread(process.join)
            receiving.close()
        if problem:
            raise WorkerFailedError(problem)

    async def watch(self) -> None:
        """Kill workers that do not answer an order; for ever."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            await asyncio.gather(*(_check(worker) for worker in list(self.workers.values()) if worker.is_ready))

    async def stop(self, grace_s: float) -> None:
        """End all workers: each answers the requests that it has, for up to `grace_s`."""
        self._size = 0
        leaving = list(self.workers.values())
        for worker in leaving:
            self._dismiss(worker)
        deadline = time.monotonic() + grace_s
        for worker in leaving:
            await asyncio.to_thread(worker.process.join, max(0.0, deadline - time.monotonic()))
            worker.process.kill()

    async def _fill(self) -> None:
        """Start workers until there are as many as there have to be."""
        async with self._starting:
            while len(self.workers) < self._size:
                await self._start()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        process = self._context.Process(target=_run, args=(self._settings, self._listener, theirs))
        await asyncio.to_thread(process.start)
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        worker = WorkerProcess(next(self._numbers), process, reader, writer)
        self.workers[worker.number] = worker
        self._keep(self._listen(worker))
        await self._load_into(worker)

    async def _load_into(self, worker: WorkerProcess) -> None:
        await worker.order({"do": "load", **self._models}, ANSWER_TIMEOUT_S)
        worker.is_ready = True

    async def _listen(self, worker: WorkerProcess) -> None:
        """Hand on a worker's answers until it ends; then start another in its place."""
        await worker.listen()
        if self.workers.pop(worker.number, None) is not None:
            logger.error("worker %s died: another takes its place", worker.pid)
            await self._replace(0.0 if time.monotonic() - worker.started_at > STEADY_S else FIRST_PAUSE_S)
        await asyncio.to_thread(worker.process.join)

    async def _replace(self, pause_s: float) -> None:
        """Start what is missing, with longer and longer pauses while workers do not live long."""
        while len(self.workers) < self._size:
            await asyncio.sleep(pause_s)
            try:
                await self._fill()
            except WorkerFailedError as exc:
                logger.error("%s", exc)
                pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)

    def _dismiss(self, worker: WorkerProcess) -> None:
        """Ask a worker to answer the requests that it has, and end."""
        self.workers.pop(worker.number, None)
        worker.process.terminate()

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _check(worker: WorkerProcess) -> None:
    with contextlib.suppress(WorkerDiedError):
        try:
            await worker.order({"do": "nothing"}, WATCH_TIMEOUT_S)
        except WorkerFailedError as exc:
            logger.error("%s: it is killed", exc)
            worker.process.kill()


def _run(settings: WorkerSettings, listener: socket.socket, orders: socket.socket) -> None:
    """Be a worker. The server's own process never loads what this imports."""
    from model_store.asgi import worker

    worker.run(settings, listener, orders)


def _try_out(one: Registered, result: Connection) -> None:
    from model_store.asgi import worker

    worker.try_out(one, result)
