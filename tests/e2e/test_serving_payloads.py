"""Generated requests to a real TorchServe: the documented status each, and the worker lives."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from handler.answers.answering import answer
from handler.requests.payload import Request
from tests.samples.payloads import OK, Payload, payloads
from tests.servers.torchserve import ServedStores

pytestmark = pytest.mark.torchserve
HOSTS = ("torchserve", "uvicorn")

NUM_PAYLOADS = 20_000
SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1.0"))
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def check(served: ServedStores, payload: Payload) -> None:
    headers = {"Content-Type": payload.content_type, **payload.headers}
    response = served.client.post("/predictions/stores", content=payload.body, headers=headers)
    assert response.status_code in payload.statuses, response.text
    document = response.json()
    if payload.predictions is not None:
        predictions = document["predictions"] if "predictions" in document else document["outputs"][0]["data"]
        assert predictions == pytest.approx(list(payload.predictions), rel=1e-6, abs=1e-6)
    [without_a_server] = answer(served.fleet, [Request(payload.body, payload.content_type, headers=payload.headers)])
    assert response.status_code == without_a_server.status
    if response.status_code == OK:
        assert response.content == without_a_server.body
    else:  # how deep is too deep depends on how deep the caller stands already, and so may the message
        assert document["code"] == response.status_code
        assert document["message"]


def worker_pid(served: ServedStores) -> int:
    with served.management() as management:
        [worker] = management.describe("stores", "1").workers
    assert worker.is_ready
    return worker.pid


def send(served: ServedStores, num_payloads: int) -> None:
    """Send this many generated payloads, and check each answer."""

    @settings(
        max_examples=num_payloads,
        deadline=None,
        suppress_health_check=CHECKS,
        database=None,
        phases=[Phase.generate, Phase.shrink],
    )
    @given(payloads)
    def send_one(payload: Payload) -> None:
        check(served, payload)

    send_one()


def test_every_payload_gets_its_status_and_the_worker_lives(served_stores: ServedStores) -> None:
    before = worker_pid(served_stores)
    send(served_stores, 200)
    assert worker_pid(served_stores) == before


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_20_000_payloads_get_their_status_and_the_worker_lives(served_stores: ServedStores) -> None:
    before = worker_pid(served_stores)
    send(served_stores, max(1000, int(NUM_PAYLOADS * SCALE)))
    assert worker_pid(served_stores) == before
