from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from handler.hosting.endpoint import Endpoint
from handler.hosting.metrics import Metrics
from handler.models.fleet import Fleet
from handler.requests.payload import Request
from model_store.status.exposition import HELP, UNKNOWN, exposition
from model_store.status.reports import Sums

NAME = re.compile(r"gridline_(?!job_)[a-z_]+")
ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "monitoring.md"


def sums_of(metrics: Metrics) -> Sums:
    sums = Sums()
    sums.add_counts(metrics.snapshot(), "stores")
    sums.add_state(metrics.snapshot(), "stores")
    return sums


def test_the_text_is_read_by_prometheus_own_parser(stores_fleet: Fleet) -> None:
    endpoint = Endpoint(stores_fleet)
    endpoint.respond([Request(b"{"), Request(b'{"dataset": "north", "instances": [[3, 1]]}')])
    families = {one.name: one for one in text_string_to_metric_families(exposition(sums_of(endpoint.metrics)))}
    requests = families["gridline_requests"]
    assert requests.type == "counter"
    counted = {sample.labels["outcome"]: sample.value for sample in requests.samples}
    assert counted == {"ok": 1, "bad_request": 1, "not_found": 0, "unavailable": 0}
    assert {sample.name for sample in requests.samples} == {"gridline_requests_total"}
    assert families["gridline_requests_in_flight"].type == "gauge"
    for one in families.values():
        assert NAME.fullmatch(one.name)
        assert one.documentation != UNKNOWN
        assert all(sample.labels["collection"] == "stores" for sample in one.samples)


def test_the_buckets_of_a_histogram_add_up() -> None:
    metrics = Metrics()
    for value in (0.0001, 0.002, 0.002, 60.0):
        metrics.observe("gridline_request_seconds", value, outcome="ok")
    [family] = text_string_to_metric_families(exposition(sums_of(metrics)))
    buckets = {one.labels["le"]: one.value for one in family.samples if one.name.endswith("_bucket")}
    assert (buckets["0.0001"], buckets["0.0025"], buckets["10.0"], buckets["+Inf"]) == (1, 3, 3, 4)
    [count] = [one.value for one in family.samples if one.name.endswith("_count")]
    assert count == 4


def test_labels_with_any_text_stay_one_sample() -> None:
    sums = Sums()
    sums.gauges["gridline_ready", (("collection", 'a"b\\c\nd'),)] = 1
    [family] = text_string_to_metric_families(exposition(sums))
    assert family.samples[0].labels == {"collection": 'a"b\\c\nd'}


def test_a_metric_of_a_newer_archive_is_shown_too() -> None:
    metrics = Metrics()
    metrics.count("gridline_future_total", 2)
    [family] = text_string_to_metric_families(exposition(sums_of(metrics)))
    assert (family.name, family.documentation, family.samples[0].value) == ("gridline_future", UNKNOWN, 2)


def test_queries_and_alerts_name_metrics_that_exist() -> None:
    used = NAME.findall(PAGE.read_text() + (ROOT / "infra" / "monitoring" / "alerts.yml").read_text())
    assert {re.sub("_(total|bucket)$", "", name) for name in used} == set(HELP)


def test_docs_list_each_metric() -> None:
    listed = set(re.findall(r"^\| `(gridline_(?!job_)[a-z_]+?)(?:_total)?`", PAGE.read_text(), re.MULTILINE))
    assert listed == set(HELP)
