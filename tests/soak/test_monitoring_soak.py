"""A job, a TorchServe with its follower and a canary, Ray, a Pushgateway and Prometheus: each query finds its metric.

Prometheus scrapes them by infra/monitoring/prometheus.yml. What may be empty is listed with the reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from model_store.deployment.control import Control
from model_store.deployment.holds import hold
from tests.dashboard_picture import draw
from tests.monitoring import Query, metrics_of, queries
from tests.servers import prometheus as servers
from tests.servers.command_line import ANY_PORTS, running, started
from tests.servers.prometheus import Prometheus, prometheus, pushgateway
from tests.servers.ray_cluster import ROOT, RayHead
from tests.servers.torchserve import until

pytestmark = [
    pytest.mark.soak,
    pytest.mark.ray,
    pytest.mark.torchserve,
    pytest.mark.timeout(600),
    pytest.mark.skipif(servers.is_missing(), reason=f"Prometheus is not installed: {servers.INSTALL}"),
]
NO_METRIC = {  # where nothing has gone wrong
    "ray_memory_manager_worker_eviction_total": "Ray counts the workers that it kills for memory from the first one on",
    "gridline_job_store_requests": "counted for S3 alone",
    "Requests5XX": "TorchServe counts from the first such answer on",
}
EMPTY = {"panel Alerts that fire": "when none fires"}
BODIES = [
    {"instances": [[3.0]]},
    {"instances": [[3.0], [300.0]]},
    {"instances": [["1e999"]]},
    {"instances": [[3.0]], "dataset": "nowhere"},
    {},
]


@pytest.fixture(scope="module")
def system(ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """All that infra/compose has but Grafana, on this machine."""
    folder = tmp_path_factory.mktemp("monitoring")
    store = str(folder / "store")
    with ExitStack() as stack:
        gateway = stack.enter_context(pushgateway())
        train(ray_head, job(folder, 50), store, gateway)
        server = folder / "server"
        serve = running("serve", "plants", "--store", store, "--folder", str(server), "--json", *ANY_PORTS)
        addresses = started(stack.enter_context(serve))
        train(ray_head, job(folder, 6000), store, gateway)
        deploy = ["deploy", "plants", "--store", store, "--token-file", str(server / "key_file.json")]
        deploy += ["--management", addresses["management_url"]]
        stack.enter_context(running(*deploy, "--follow", "--canary", "50%", "--for", "1h", "--max-distance", "none"))
        until(lambda: (server / "control" / "rollouts.json").exists() and "plants" in rollouts(server), timeout_s=60)
        hold(Control(server / "control"), "trees", 1, "deploy --version 1")
        hold(Control(server / "control"), "shrubs", 1, "the canary of version 2 was taken off", rejected=2)
        targets = {
            "serve": [addresses["status_url"].removeprefix("http://")],
            "ray": [metrics_address(ray_head)],
            "pushgateway": [gateway],
        }
        found = stack.enter_context(prometheus(folder / "prometheus", targets))
        ask_endpoint(addresses["url"], server)
        until(lambda: found.ask('rate(gridline_bad_requests_total{reason="value"}[1m]) > 0'), timeout_s=60)
        until(lambda: found.ask("ray_cluster_active_nodes and on () ray_tasks"), timeout_s=60)
        yield found


def job(folder: Path, epochs: int) -> Path:
    """Write the job of examples/plants.yaml with other epochs: more of them make a better model."""
    document = yaml.safe_load((ROOT / "examples" / "plants.yaml").read_text())
    document["training"]["epochs"] = epochs
    document["datasets"][0]["source"] = str(ROOT / document["datasets"][0]["source"])
    document["prices"] = {"cpu_hour": 0.04}
    path = folder / f"plants-{epochs}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def train(head: RayHead, path: Path, store: str, gateway: str) -> None:
    options = ("--store", store, "--address", head.address, "--push-gateway", f"http://{gateway}")
    done = head.python("-m", "jobs", "train", str(path), *options)
    assert done.returncode == 0, done.stderr


def rollouts(server: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((server / "control" / "rollouts.json").read_text())
    return found


def metrics_address(head: RayHead) -> str:
    """Return where the node of Ray exports its metrics, by Ray's own list for Prometheus."""
    [listed] = json.loads((head.folder / "prom_metrics_service_discovery.json").read_text())
    return str(listed["targets"][0])


def ask_endpoint(url: str, server: Path) -> None:
    """Send good and bad requests, as a client would."""
    key = json.loads((server / "key_file.json").read_text())["inference"]["key"]
    for body in BODIES * 4:
        httpx.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30)


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.where.replace(" ", "-"))
def test_each_query_finds_its_metrics(system: Prometheus, query: Query) -> None:
    found = system.ask(query.text)
    for name in metrics_of(query.text) - set(NO_METRIC) - {"ALERTS"}:
        assert system.ask(f"count({name})"), f"{query.where}: nothing has the metric {name}"
    may_be_empty = (
        query.where in EMPTY
        or query.where.startswith(("alert ", "runbook "))
        or metrics_of(query.text) & set(NO_METRIC)
    )
    assert found or may_be_empty, f"{query.where}: {query.text} finds nothing"


def test_alerts_of_a_system_that_is_well_do_not_fire(system: Prometheus) -> None:
    firing = {one["metric"]["alertname"] for one in system.ask('ALERTS{alertstate="firing"}')}
    assert firing <= {"GridlineVersionHeld"}


def test_the_dashboard_can_be_drawn(system: Prometheus, tmp_path: Path) -> None:
    """For a look at it: GRIDLINE_PICTURES=FOLDER python -m pytest -m soak tests/soak/test_monitoring_soak.py."""
    folder = Path(os.environ.get("GRIDLINE_PICTURES", tmp_path))
    for width in (1920, 1280):
        draw(system, folder / f"dashboard-{width}.png", width)
        assert (folder / f"dashboard-{width}.png").stat().st_size > 100_000
