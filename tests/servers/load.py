"""A constant load of requests, sent on schedule whatever the answers are, and what became of each."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

import httpx

from model_store.serving.settings import ServerSettings
from tests.servers.torchserve import inference_client

CONNECTIONS = 16
OK, UNAVAILABLE = 200, 503


@dataclass(frozen=True)
class Outcome:
    """When a request was sent and answered (monotonic seconds), its status (0: none), and the version that answered."""

    sent_at: float
    answered_at: float
    status: int
    version: int | None


@dataclass
class Load:
    """Sends `rate` requests a second while it is entered; `outcomes` holds what came of them."""

    settings: ServerSettings
    path: str
    body: bytes
    rate: float
    outcomes: list[Outcome] = field(default_factory=list)
    fallback: ServerSettings | None = None  # is asked where the first server refuses with 503, or has ended

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        servers = [self.settings] if self.fallback is None else [self.settings, self.fallback]
        self._clients = [inference_client(server, limits=limits) for server in servers]
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._clock = threading.Thread(target=self._send_on_schedule)
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._clock.join()
        self._pool.shutdown(wait=True)
        for client in self._clients:
            client.close()

    def failures(self) -> list[Outcome]:
        """Return the requests that were not answered with 200."""
        return [outcome for outcome in self.outcomes if outcome.status != OK]

    def versions(self) -> list[int | None]:
        """Return the versions that answered, in the order in which each first did."""
        return list(
            dict.fromkeys(outcome.version for outcome in sorted(self.outcomes, key=lambda one: one.answered_at))
        )

    def _send_on_schedule(self) -> None:
        start = time.monotonic()
        number = 0
        while not self._stop.wait(max(0.0, start + number / self.rate - time.monotonic())):
            self._pool.submit(self._send)
            number += 1

    def _send(self) -> None:
        sent_at = time.monotonic()
        status, version = 0, None
        for client in self._clients:
            try:
                response = client.post(self.path, content=self.body, headers={"Content-Type": "application/json"})
            except httpx.HTTPError:
                continue
            status = response.status_code
            if status == UNAVAILABLE:
                continue
            version = response.json()["model"]["version"] if status == OK else None
            break
        self.outcomes.append(Outcome(sent_at, time.monotonic(), status, version))
