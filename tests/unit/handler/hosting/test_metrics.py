from __future__ import annotations

import threading

import pytest

from handler.answers.answering import Answer
from handler.errors import EncodingError, NotServedError, PayloadError
from handler.hosting.endpoint import Endpoint
from handler.hosting.metrics import BOUNDS_S, Metrics, count_answers, outcome_of
from handler.models.fleet import Fleet
from handler.requests.payload import Request

GOOD = Request(b'{"dataset": "north", "instances": [[3, 1], [300, 1]]}')


def values(metrics: Metrics, kind: str = "counters") -> dict[tuple[str, ...], float]:
    """Return the values of a snapshot, by name and the values of the labels."""
    return {(name, *labels.values()): value for name, labels, value in metrics.snapshot()[kind]}


def test_an_endpoint_counts_requests_rows_refusals_and_extrapolations(stores_fleet: Fleet) -> None:
    endpoint = Endpoint(stores_fleet)
    endpoint.respond([GOOD, Request(b"{")])
    endpoint.respond([Request(b'{"dataset": "west", "instances": [[3, 1]]}'), Request(method="GET")])
    counted = values(endpoint.metrics)
    assert counted["gridline_requests_total", "ok"] == 2
    assert counted["gridline_requests_total", "bad_request"] == counted["gridline_requests_total", "not_found"] == 1
    assert counted["gridline_rows_total",] == 2
    assert counted["gridline_extrapolations_total",] == 1
    assert counted["gridline_bad_requests_total", "payload"] == counted["gridline_bad_requests_total", "dataset"] == 1
    assert counted["gridline_busy_seconds_total",] > 0
    assert values(endpoint.metrics, "gauges") == {("gridline_requests_in_flight",): 0}
    histograms = endpoint.metrics.snapshot()["histograms"]
    assert {labels["outcome"]: sum(one["counts"]) for _, labels, one in histograms} == {
        "ok": 2,
        "bad_request": 1,
        "not_found": 1,
    }


def test_counters_of_an_endpoint_are_there_before_the_first_request(stores_fleet: Fleet) -> None:
    counted = values(Endpoint(stores_fleet).metrics)
    assert set(counted.values()) == {0}
    assert {key[1] for key in counted if key[0] == "gridline_requests_total"} == {
        outcome_of(status) for status in (200, 400, 404, 503)
    }
    reasons = {one.reason for one in (PayloadError, EncodingError, NotServedError)}
    assert {key[1] for key in counted if key[0] == "gridline_bad_requests_total"} == reasons


def test_requests_in_flight_fall_again_when_an_answer_fails(stores_fleet: Fleet) -> None:
    endpoint = Endpoint(stores_fleet)
    with pytest.raises(AttributeError):
        endpoint.respond([None])  # type: ignore[list-item]  # a fault of ours, of any kind
    assert values(endpoint.metrics, "gauges") == {("gridline_requests_in_flight",): 0}


def test_a_histogram_counts_each_value_once_below_its_bound() -> None:
    metrics = Metrics()
    for value in (0.0, BOUNDS_S[0], BOUNDS_S[0] * 1.1, BOUNDS_S[-1] + 1):
        metrics.observe("gridline_example_seconds", value)
    [[_, _, histogram]] = metrics.snapshot()["histograms"]
    assert histogram["counts"][:2] == [2, 1]
    assert histogram["counts"][-1] == 1
    assert sum(histogram["counts"]) == 4
    assert histogram["sum"] == pytest.approx(BOUNDS_S[-1] + 1 + 2.1 * BOUNDS_S[0])


def test_labels_name_a_series_in_any_order() -> None:
    metrics = Metrics()
    metrics.count("gridline_rollout_requests_total", arm="canary", outcome="ok")
    metrics.count("gridline_rollout_requests_total", 2, outcome="ok", arm="canary")
    assert values(metrics) == {("gridline_rollout_requests_total", "canary", "ok"): 3}


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            count_answers(metrics, [Answer(200, b"", num_rows=1)], 0.001)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(metrics)["gridline_rows_total",] == 8000


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (400, "bad_request"), (404, "not_found"), (415, "bad_request"), (503, "unavailable")],
)
def test_an_outcome_is_one_of_four(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome
