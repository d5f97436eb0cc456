"""The dashboard of Grafana: form, thresholds and variables. tests/soak/test_monitoring_soak.py asks a running one."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from jobs.monitoring.metrics import HELP as OF_JOBS
from jobs.monitoring.metrics import PREFIX
from model_store.status.exposition import HELP as OF_SERVERS
from tests.infra_files import INFRA, compose_services
from tests.monitoring import DASHBOARD, names_of, queries

PROVISIONING = INFRA / "monitoring" / "grafana" / "provisioning"
BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def title(panel: dict[str, Any]) -> str:
    return str(panel["title"])


@pytest.mark.parametrize("panel", PANELS, ids=title)
def test_each_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"] and panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] and defaults["thresholds"]["steps"][0]["value"] is None
    assert all(target["expr"] for target in panel["targets"])


def test_titles_and_ids_name_one_panel() -> None:
    for key in ("title", "id"):
        found = [panel[key] for panel in BOARD["panels"]]
        assert len(set(found)) == len(found)


def test_rows_are_the_job_the_endpoint_and_ray() -> None:
    rows = [panel["title"].partition(":")[0] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Job", "Endpoint", "Ray"]


def test_panels_fit_into_the_24_columns_without_overlap() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 and place["w"] >= 4 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_colours_of_a_panel_change_where_its_alert_fires() -> None:
    """Each alert that a panel names has its threshold there, as alerts.yml has it."""
    alerts = {one.where.removeprefix("alert "): one.text for one in queries() if one.where.startswith("alert ")}
    for panel in PANELS:
        for name in re.findall(r"(?:Red|Above the line[^:]*): (Gridline\w+)", panel["description"]):
            steps = {step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]}
            assert steps & _numbers(alerts[name]), f"{panel['title']}: {name} has another threshold"


def test_queries_use_the_variables_of_the_dashboard_and_the_provisioned_source() -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "collection", "instance"}
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert variables["datasource"]["current"]["value"] == source["uid"]
    for panel in PANELS:
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_compose_gives_grafana_and_prometheus_these_files() -> None:
    services = {one.name: one for one in compose_services()}
    mounts = {name: one.mounts for name, one in services.items()}
    assert mounts["grafana"]["/etc/grafana/provisioning"] == "../monitoring/grafana/provisioning"
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "gridline.yaml").read_text())["providers"]
    folder = (INFRA / "compose" / mounts["grafana"][provider["options"]["path"]]).resolve()
    assert DASHBOARD in folder.iterdir()
    for name in ("prometheus.yml", "alerts.yml"):
        assert mounts["prometheus"][f"/etc/prometheus/{name}"] == f"../monitoring/{name}"
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    jobs = yaml.safe_load((INFRA / "monitoring" / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in jobs for group in job["static_configs"] for target in group["targets"]]
    hosts = {target.partition(":")[0] for target in targets}
    assert hosts == {"serve", "ray-head", "ray-worker", "pushgateway"}
    assert hosts - set(services) == set()


def test_each_metric_of_gridline_is_on_the_dashboard_or_in_an_alert() -> None:
    """A metric that nobody looks at is either shown or listed here, with the reason."""
    used = {name for query in queries() for name in names_of(query.text)}
    there = {PREFIX + name for name in OF_JOBS} | set(OF_SERVERS)
    not_shown = {
        "gridline_datasets",  # the champions of the job say the same
        "gridline_served_version_commit_timestamp_seconds",  # its age is shown
        "gridline_start_timestamp_seconds",  # restarts are shown
    }
    assert {name for name in used if name.startswith("gridline_")} == there - not_shown


def _numbers(expression: str) -> set[float]:
    """Return the numbers of an expression, and those of its products of two."""
    words = expression.replace("(", " ").replace(")", " ").split()
    found = {float(word) for word in words if word.replace(".", "").isdecimal()}
    return found | {one * other for one in found for other in found} | {100 * (1 - one) for one in found}
