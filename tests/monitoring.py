"""The queries of the monitoring: of the panels of the dashboard, of the alerts and of the runbooks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import yaml

from tests.infra_files import INFRA, ROOT

ALERTS = INFRA / "monitoring" / "alerts.yml"
DASHBOARD = INFRA / "monitoring" / "grafana" / "dashboard.json"
NAME = re.compile(r"\b(?:(?:gridline|ray|ts)_[a-z_]+|Requests5XX|up|ALERTS)\b")
RUNBOOKS = ROOT / "docs" / "runbooks.md"
ASKED = re.compile(r"promtool query instant \S+ '([^']+)'")
FAMILY = re.compile(r"_(total|bucket|sum|count)$")
VARIABLES = {"$collection": ".*", "$instance": ".*", "$__rate_interval": "1m"}


@dataclass(frozen=True)
class Query:
    """An expression of Prometheus, and where it stands: `panel TITLE`, `alert NAME` or `runbook query NUMBER`."""

    where: str
    text: str


def queries() -> list[Query]:
    """Return what all panels, alerts and runbooks ask, with the dashboard's variables at their defaults."""
    board = json.loads(DASHBOARD.read_text())
    shown = [
        Query(f"panel {one['title']}", target["expr"]) for one in board["panels"] for target in one.get("targets", [])
    ]
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [Query(f"alert {rule['alert']}", rule["expr"]) for group in groups for rule in group["rules"]]
    asked = [Query(f"runbook query {number}", text) for number, text in enumerate(ASKED.findall(RUNBOOKS.read_text()))]
    return [Query(one.where, filled(one.text)) for one in shown + rules + asked]


def names_of(expression: str) -> set[str]:
    """Return the metrics that an expression names, without the suffixes of counters and histograms."""
    return {FAMILY.sub("", name) for name in metrics_of(expression)}


def metrics_of(expression: str) -> set[str]:
    """Return the metrics that an expression names, as Prometheus has them."""
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', expression)))


def filled(expression: str) -> str:
    """Return an expression of a panel with the dashboard's variables at their defaults."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
