from __future__ import annotations

from importlib import resources

import yaml

from handler.hosting.endpoint import Endpoint
from handler.hosting.torchserve_metrics import TorchServeMetrics
from handler.models.fleet import Fleet
from handler.requests.payload import Request

BODY = b'{"dataset": "north", "instances": [[3, 1]]}'
OUTSIDE = BODY.replace(b"[3, 1]", b"[300, 1]")
WRONG = BODY.replace(b"[3, 1]", b"[300, 1], [3, -2]")


def test_lines_hold_what_was_added_since_the_last_ones(stores_fleet: Fleet) -> None:
    endpoint = Endpoint(stores_fleet)
    metrics = TorchServeMetrics(endpoint.metrics, "stores")
    endpoint.respond([Request(BODY), Request(b"{"), Request(WRONG)])
    endpoint.respond([Request(OUTSIDE)])
    lines = [line.partition("|#type:COUNTER|#hostname:")[0] for line in metrics.flush()]
    assert "[METRICS]GridlineRequests.Count:4|#ModelName:stores,Level:Model" in lines
    assert "[METRICS]GridlineRows.Count:2|#ModelName:stores,Level:Model" in lines
    assert "[METRICS]GridlineExtrapolations.Count:1|#ModelName:stores,Level:Model" in lines
    assert "[METRICS]GridlineBadRequests.Count:1|#Reason:payload,ModelName:stores,Level:Model" in lines
    assert "[METRICS]GridlineBadRequests.Count:1|#Reason:value,ModelName:stores,Level:Model" in lines
    assert "[METRICS]GridlineOutcomes.Count:2|#Outcome:ok,ModelName:stores,Level:Model" in lines
    assert "[METRICS]GridlineLatencyBucket.Count:4|#le:+Inf,ModelName:stores,Level:Model" in lines
    assert metrics.flush() == []
    endpoint.respond([Request(BODY)])
    assert any(line.startswith("[METRICS]GridlineRequests.Count:1|") for line in metrics.flush())


def test_the_shipped_configuration_declares_every_line(stores_fleet: Fleet) -> None:
    endpoint = Endpoint(stores_fleet)
    endpoint.respond([Request(BODY), Request(b"{"), Request(OUTSIDE)])
    declared = yaml.safe_load((resources.files("infra.torchserve") / "metrics.yaml").read_text())
    counters = {one["name"]: one["dimensions"] for one in declared["model_metrics"]["counter"]}
    for line in TorchServeMetrics(endpoint.metrics, "stores").flush():
        name, _, rest = line.removeprefix("[METRICS]").partition(".")
        dimensions = [pair.partition(":")[0] for pair in rest.split("|#")[1].split(",")]
        assert counters[name] == dimensions
