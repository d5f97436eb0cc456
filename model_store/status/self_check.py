"""Ask a server its examples now and then, and start again what does not answer: its workers, then all of it.

TorchServe starts a worker again that ends, or that takes 30 s for a request. It does not see a worker whose thread in
the front end has ended, nor that it stands still itself: then requests wait without end, and its /ping says Healthy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from handler.hosting.metrics import Metrics
from model_store.deployment.errors import ServerError
from model_store.status.example_probe import Answered, ExampleProbe
from model_store.status.reports import Sums, WorkerReports

CHECKS = "gridline_self_checks_total"
CHECK_SECONDS = "gridline_self_check_seconds"
RESTARTS = "gridline_restarts_total"
TICK_S = 0.5
END_S = 5.0  # for a check that is under way when the block ends; a cure takes longer
EVERYTHING = ""  # stands for the server, beside the names of collections
logger = logging.getLogger(__name__)


class Cures(Protocol):
    """What can be done with a server that does not answer. Every method may raise ServerError."""

    def is_ending(self) -> bool:
        """Return whether the server is being stopped: then nothing is cured."""

    def has_ended(self) -> str | None:
        """Return how the server ended by itself, or None while it runs."""

    def remember(self) -> None:
        """Remember what the server serves, to bring it back after a restart."""

    def restart_workers(self, collection: str) -> bool:
        """End the workers of what a collection serves, and start others; False if it is not the time for that."""

    def restart_server(self) -> None:
        """End the server, start it again with what it served, and wait until it is ready."""

    def give_up(self, reason: str) -> None:
        """End `gridline serve` with an error."""


@dataclass(frozen=True)
class Schedule:
    """When to ask and to cure; times in seconds. What fails is asked again after `retry_s`."""

    interval_s: float = 10.0
    retry_s: float = 2.0
    unanswered: int = 2  # checks in a row before a cure
    worker_restarts: int = 3  # of a collection within `window_s`, then the server is restarted
    server_restarts: int = 3  # within `window_s`, then it is given up
    window_s: float = 600.0


@dataclass
class _Patient:
    """A collection, or the server: the checks in a row that it failed, and its restarts."""

    num_unanswered: int = 0
    num_answers: int = 0  # to any request, when it failed the first of these checks
    restarts: deque[float] = field(default_factory=deque)

    def num_restarts(self, since: float) -> int:
        while self.restarts and self.restarts[0] < since:
            self.restarts.popleft()
        return len(self.restarts)


class SelfCheck:
    """Checks a server in a thread, from `with` to the end of the block."""

    def __init__(
        self, cures: Cures, probe: ExampleProbe, reports: WorkerReports, metrics: Metrics, schedule: Schedule
    ) -> None:
        self._cures, self._probe, self._reports, self._metrics = cures, probe, reports, metrics
        for what in ("workers", "server"):  # of a counter that appears with 1 Prometheus sees no growth
            metrics.count(RESTARTS, 0, what=what)
        self._schedule = schedule
        self._patients: dict[str, _Patient] = {EVERYTHING: _Patient()}
        self._before = Sums()  # at the start of this check
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gridline-self-check", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(END_S)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                if self.look():
                    self._pause(self._schedule.interval_s)
                else:
                    self._ended.wait(self._schedule.retry_s)
        finally:
            if not self._ended.is_set():
                self._cures.give_up("its self check failed")

    def _pause(self, pause_s: float) -> None:
        """Wait, but not for a server that has ended."""
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0 and self._cures.has_ended() is None:
            if self._ended.wait(min(left_s, TICK_S)):
                return

    def look(self) -> bool:
        """Check once, and cure what has failed often enough; return whether all is well."""
        if self._is_over():
            return True
        ending = self._cures.has_ended()
        if ending is not None:
            self._restart_server(ending)
            return False
        self._before = self._reports.read()
        try:
            answers = self._probe.ask()
        except ServerError as exc:
            return self._failed(EVERYTHING, str(exc))
        self._patients[EVERYTHING].num_unanswered = 0
        well = [self._answered(name, answer) for name, answer in answers.items()]
        if well and all(well):
            self._cures.remember()
        return all(well)

    def _is_over(self) -> bool:
        return self._ended.is_set() or self._cures.is_ending()

    def _answered(self, name: str, answer: Answered) -> bool:
        """Note how a collection answered its example; return whether it did."""
        is_well = answer.problem is None
        self._metrics.count(CHECKS, int(is_well), collection=name, outcome="ok")
        self._metrics.count(CHECKS, int(not is_well), collection=name, outcome="failed")
        if answer.problem is not None:
            return self._failed(name, answer.problem)
        self._metrics.observe(CHECK_SECONDS, answer.seconds, collection=name)
        self._patients.setdefault(name, _Patient()).num_unanswered = 0
        return True

    def _failed(self, name: str, problem: str) -> bool:
        """Note a failure, and cure it if that is due. Returns False."""
        patient = self._patients.setdefault(name, _Patient())
        if name != EVERYTHING and not self._stands_still(name, patient):
            logger.warning("collection '%s' did not answer its example, but other requests: %s", name, problem)
            patient.num_unanswered = 0
            return False
        patient.num_unanswered += 1
        is_due = patient.num_unanswered >= self._schedule.unanswered and not self._is_over()
        if is_due and name == EVERYTHING:
            self._restart_server(problem)
        elif is_due:
            self._restart_workers(name, problem)
        else:
            logger.warning("%s", _said(name, problem))
        return False

    def _stands_still(self, name: str, patient: _Patient) -> bool:
        """Return whether a collection answered no request since the first check that it failed: else it is busy."""
        if patient.num_unanswered == 0:
            patient.num_answers = self._before.num_answers(name)
        return self._reports.read().num_answers(name) == patient.num_answers

    def _restart_workers(self, name: str, problem: str) -> None:
        patient, now = self._patients[name], time.monotonic()
        if patient.num_restarts(now - self._schedule.window_s) >= self._schedule.worker_restarts:
            self._restart_server(problem)
            return
        logger.error("%s", _said(name, problem))
        try:
            if not self._cures.restart_workers(name):
                return
            patient.restarts.append(now)
            self._metrics.count(RESTARTS, what="workers")
            answer = self._probe.ask().get(name, Answered())
        except ServerError as exc:
            answer = Answered(problem=str(exc))
        if answer.problem is None:
            logger.warning("collection '%s' answers again, by other workers", name)
            patient.num_unanswered = 0
        else:
            self._restart_server(answer.problem)

    def _restart_server(self, problem: str) -> None:
        server, now = self._patients[EVERYTHING], time.monotonic()
        if self._is_over():
            return
        if server.num_restarts(now - self._schedule.window_s) >= self._schedule.server_restarts:
            self._cures.give_up(
                f"it was restarted {self._schedule.server_restarts} times within {self._schedule.window_s:g} s, and "
                f"again: {problem}"
            )
            self._ended.set()
            return
        logger.error("%s; it is started again", _said(EVERYTHING, problem))
        server.restarts.append(now)
        self._metrics.count(RESTARTS, what="server")
        try:
            self._cures.restart_server()
        except ServerError as exc:
            logger.error("the server did not start again: %s", exc)
            return
        for patient in self._patients.values():
            patient.num_unanswered = 0
        logger.warning("the server is ready again")


def _said(name: str, problem: str) -> str:
    """Return what does not answer, and why."""
    who = f"collection '{name}'" if name else "the server"
    return f"{who} does not answer: {problem}"
