"""Generated requests, answered without a server: each gets the status that it must get."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from handler.answers.answering import answer
from handler.models.fleet import Fleet
from handler.requests.payload import Request
from tests.samples.payloads import OK, Payload, hostile, nearly_valid, valid

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


def check(fleet: Fleet, payload: Payload) -> None:
    [answered] = answer(fleet, [Request(payload.body, payload.content_type, headers=payload.headers)])
    document = json.loads(answered.body)
    assert answered.status in payload.statuses, document
    if payload.predictions is not None:
        predictions = document["predictions"] if "predictions" in document else document["outputs"][0]["data"]
        assert predictions == pytest.approx(list(payload.predictions), rel=1e-9, abs=1e-9)
    if answered.status != OK:
        assert document["message"]
        assert len(document["message"]) < 600


@settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
@given(valid())
def test_valid_requests_are_answered(stores_fleet: Fleet, payload: Payload) -> None:
    check(stores_fleet, payload)


@settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
@given(nearly_valid())
def test_requests_with_one_thing_wrong_are_refused(stores_fleet: Fleet, payload: Payload) -> None:
    check(stores_fleet, payload)


@settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
@given(hostile())
def test_hostile_requests_are_refused_or_answered_and_break_nothing(stores_fleet: Fleet, payload: Payload) -> None:
    check(stores_fleet, payload)
