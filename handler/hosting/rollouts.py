"""A canary or a shadow in a worker: the version that serves gives some of its requests to a new one, and compares.

A canary answers its share of the requests. A request that only the new version refuses is answered by the old one, and
counted as an error. A shadow answers nothing. Comparing is done after the answer, by a thread that takes at most a
tenth of the worker's time; requests that come faster are not compared.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from ..answers.answering import OK, Answer, answer
from ..errors import HandlerError
from ..models.fleet import Fleet
from ..requests.payload import Request
from .distances import distances
from .rollout_counts import RolloutCounts
from .rollout_files import Wanted

LOOK_INTERVAL_S = 0.25
SHARE_OF_TIME = 0.1
MAX_WAITING = 64
MAX_BODY_BYTES = 1 << 18  # of a request that is compared


class Rollout:
    """A new version in this worker: it answers or it is compared, as is wanted; `counts` has what came of it."""

    def __init__(self, base: Fleet, new: Fleet, what: Wanted) -> None:
        self.what = what
        self.counts = RolloutCounts()
        self._base, self._new = base, new
        self._lock = threading.Lock()
        self._due = 0.0  # the part of a request that is due to the canary
        self._waiting: deque[tuple[Request, bool]] = deque()

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer for each request for predictions, in their order.

        A request whose address names the version is answered by that version.
        """
        to_new = [not request.names_version and self._is_due() for request in requests]
        base = iter(answer(self._base, [one for one, is_new in zip(requests, to_new, strict=True) if not is_new]))
        new = iter(answer(self._new, [one for one, is_new in zip(requests, to_new, strict=True) if is_new]))
        answers = []
        for request, is_new in zip(requests, to_new, strict=True):
            one = self._of_canary(request, next(new)) if is_new else next(base)
            if not request.names_version:
                self._offer(request, one, is_new=is_new)
            answers.append(one)
        return answers

    def compare_some(self, until_s: float) -> None:
        """Compare requests that wait, until a time of the monotonic clock, in a tenth of the time."""
        while time.monotonic() < until_s:
            if not self._waiting:
                time.sleep(min(LOOK_INTERVAL_S, max(0.0, until_s - time.monotonic())))
                continue
            started = time.monotonic()
            self._compare(*self._waiting.popleft())
            time.sleep((time.monotonic() - started) * (1.0 / SHARE_OF_TIME - 1.0))

    def _is_due(self) -> bool:
        """Return whether the canary answers this request: of 20 requests exactly one for a share of 5 %."""
        if self.what.kind == "shadow":
            return False
        with self._lock:
            self._due += self.what.share
            is_due = self._due >= 1.0 - 1e-9
            self._due -= is_due
        return is_due

    def _of_canary(self, request: Request, new: Answer) -> Answer:
        """Return the canary's answer, or that of the old version if only the canary refuses."""
        with self._lock:
            self.counts.tried += 1
        if new.status == OK:
            return new
        [old] = answer(self._base, [request])
        if old.status != OK:
            return new
        with self._lock:
            self.counts.add_error(_reason(new))
        return old

    def _offer(self, request: Request, given: Answer, *, is_new: bool) -> None:
        """Let a request be compared, if it is small, others do not wait already, and it can be answered."""
        with self._lock:
            self.counts.requests += 1
        concerns = is_new or self.what.kind == "shadow"
        if (
            concerns
            and _num_bytes(request) <= MAX_BODY_BYTES
            and given.status == OK
            and len(self._waiting) < MAX_WAITING
        ):
            self._waiting.append((request, is_new))

    def _compare(self, request: Request, was_tried: bool) -> None:
        refused = None if was_tried else _refusal(self._new, request)
        try:
            found = distances(self._base, self._new, request) if refused is None else None
        except HandlerError:  # the canary's error, which is counted already
            found = None
        with self._lock:
            self.counts.tried += not was_tried
            if refused is not None:
                self.counts.add_error(refused)
            if found is not None:
                self.counts.add_distances(found[0].tolist(), found[1])


def _num_bytes(request: Request) -> int:
    """Return how long the body or the fields of a request are, as far as a host has not decoded them."""
    contents = [request.body] if request.form is None else [field.content for field in request.form.values()]
    return sum(len(content) for content in contents if isinstance(content, (bytes, bytearray, str)))


def _refusal(fleet: Fleet, request: Request) -> str | None:
    [one] = answer(fleet, [request])
    return None if one.status == OK else _reason(one)


def _reason(one: Answer) -> str:
    return one.body.decode(errors="replace")[:500]
