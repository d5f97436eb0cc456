"""What this process has asked of S3: requests by operation, and bytes. Each attempt counts, as each is paid for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any


@dataclass(frozen=True)
class Counts:
    """Requests by operation (`GetObject`, `PutObject`, …), how many of them failed in passing, and bytes of bodies."""

    requests: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def since(self, before: Counts) -> Counts:
        """Return what was added after `before`."""
        requests = {name: number - before.requests.get(name, 0) for name, number in self.requests.items()}
        return Counts(
            {name: number for name, number in requests.items() if number},
            self.failed - before.failed,
            self.sent_bytes - before.sent_bytes,
            self.received_bytes - before.received_bytes,
        )


class Traffic:
    """Counts that several threads add to."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[str] = Counter()
        self._failed = self._sent = self._received = 0

    def requested(self, operation: str, sent_bytes: int) -> None:
        """Count a request with so many bytes in its body."""
        with self._lock:
            self._requests[operation] += 1
            self._sent += sent_bytes

    def failed(self) -> None:
        """Count a request that failed in a way that is tried again."""
        with self._lock:
            self._failed += 1

    def received(self, size_bytes: int) -> None:
        """Count the bytes of an answer."""
        with self._lock:
            self._received += size_bytes

    def counts(self) -> Counts:
        """Return the counts since the process began."""
        with self._lock:
            return Counts(dict(self._requests), self._failed, self._sent, self._received)


TRAFFIC = Traffic()  # of the process: a job reads it before and after


def count_requests(events: Any) -> None:
    """Count each request of a boto3 client, by its event system, with its body, and the bytes of each answer."""

    def sends(request: Any, event_name: str, **kwargs: Any) -> None:
        TRAFFIC.requested(event_name.rpartition(".")[2], int(request.headers.get("Content-Length") or 0))

    def received(response_dict: Any, **kwargs: Any) -> None:
        size = (response_dict or {}).get("headers", {}).get("content-length", "")
        TRAFFIC.received(int(size) if size.isdigit() else 0)

    events.register("before-send.s3", sends)
    events.register("response-received.s3", received)
