"""The endpoint of a collection: requests become answers, the same on every host.

A host (TorchServe, an ASGI server, …) turns what it received into a `Request`, and an `Answer` into its response.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..answers.answering import OK, Answer, answer, refusal
from ..answers.bodies import to_json
from ..description.routes import described
from ..errors import HandlerError
from ..models.fleet import Fleet
from ..requests.payload import Request
from .control import Control, draining_answer
from .metrics import IN_FLIGHT, count_answers, metrics_of_endpoint
from .rollouts import Rollout


class Endpoint:
    """Answers requests about the datasets of a fleet, and counts them in `metrics`.

    `rollout` is a newer version beside it, which may answer some of the requests.
    """

    def __init__(self, fleet: Fleet, control: Control | None = None) -> None:
        self.fleet = fleet
        self.control = control or Control(None)
        self.metrics = metrics_of_endpoint()
        self.rollout: Rollout | None = None

    def respond(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer for each request, in their order: a GET gets a description, a POST predictions.

        While the server is about to end, each is refused with 503.
        """
        started = time.perf_counter()
        self.metrics.add(IN_FLIGHT, len(requests))
        try:
            answers = self._answers(requests)
        finally:
            self.metrics.add(IN_FLIGHT, -len(requests))
        count_answers(self.metrics, answers, time.perf_counter() - started)
        return answers

    def _answers(self, requests: Sequence[Request]) -> list[Answer]:
        if self.control.is_draining:
            return [draining_answer()] * len(requests)
        predictions = iter(self._predict([request for request in requests if request.method == "POST"]))
        return [next(predictions) if request.method == "POST" else self._describe(request) for request in requests]

    def _predict(self, requests: Sequence[Request]) -> list[Answer]:
        rollout = self.rollout
        return answer(self.fleet, requests) if rollout is None else rollout.answer(requests)

    def _describe(self, request: Request) -> Answer:
        try:
            return Answer(OK, to_json(described(self.fleet, request)))
        except HandlerError as exc:
            return refusal(exc)
