"""The health of a version that serves: ask it an example now and then, and start its workers anew if none comes.

TorchServe restarts a worker that ends, and one that takes 30 s for a request; it does not see that its own thread for
a worker has ended. Then every request waits, and the worker is READY.
"""

from __future__ import annotations

import logging
import time

from model_store.deployment.errors import ServerError
from model_store.deployment.rollout import Target, alone, undeploy, wait_for_workers

ASK_INTERVAL_S = 30.0
UNANSWERED = 2  # examples in a row, before workers are started anew
logger = logging.getLogger(__name__)


class Health:
    """Asks a version of a collection an example every `interval_s`, and at the next look if one was not answered."""

    def __init__(self, target: Target, collection: str, interval_s: float = ASK_INTERVAL_S) -> None:
        self._target, self._collection, self._interval_s = target, collection, interval_s
        self._ask_at = 0.0
        self._num_unanswered = 0

    def look(self, version: str) -> None:
        """Ask, if it is time. Raises ServerError if there is no answer, after the cure if that was due."""
        if time.monotonic() < self._ask_at:
            return
        problem = self._problem(version)
        if problem is None:
            self._num_unanswered, self._ask_at = 0, time.monotonic() + self._interval_s
            return
        self._num_unanswered += 1
        if self._num_unanswered >= UNANSWERED:
            with alone(self._target, self._collection, wait=False):
                self._cure(version, problem)
            self._num_unanswered = 0
        raise ServerError(f"version {version} of '{self._collection}' does not answer its example: {problem}")

    def _problem(self, version: str) -> str | None:
        try:
            answered = self._target.server.example(self._collection, version)
        except ServerError as exc:
            return str(exc)
        return None if answered else "its workers describe no model of gridline"

    def _cure(self, version: str, problem: str) -> None:
        """Start the workers of a version anew; if that does not help, remove all versions, so that they come anew."""
        server = self._target.server
        logger.error("version %s of '%s' is started anew: %s", version, self._collection, problem)
        try:
            server.scale(self._collection, version, 0)
            server.scale(self._collection, version, self._target.workers)
            wait_for_workers(self._target, self._collection, version)
        except ServerError as exc:
            logger.error("its workers do not start: %s", exc)
        still = self._problem(version)
        if still is not None:
            logger.error("it does not answer yet, and is registered anew: %s", still)
            undeploy(self._target, self._collection)
