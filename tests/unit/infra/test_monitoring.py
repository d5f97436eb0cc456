"""Prometheus' configuration, its alerts and their runbooks agree, and promtool accepts them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra_files import INFRA, ROOT, compose_services, gridline_words, manifests, parsed, units, yaml_paths

MONITORING = INFRA / "monitoring"
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
TESTS = sorted(MONITORING.glob("alerts*_test.yml"))
FIRING = re.compile(r'ALERTS\{alertname="(\w+)", alertstate="firing"\}')
INLINE = re.compile(r"`((?:gridline|kubectl) [^`]*(?:plants|RUN|deployment/)[^`]*)`")  # others name a verb
PARTS = ["Means", "Look", "Do", "Over"]
OTHER_PROGRAMS = {
    "curl",
    "df",
    "docker",
    "du",
    "export",
    "free",
    "journalctl",
    "kubectl",
    "promtool",
    "systemctl",
    "uptime",
}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed: apt-get install --no-install-recommends prometheus",
)


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def sections() -> dict[str, str]:
    """Return the text of each runbook by its alert."""
    parts = re.split(r"^## (\w+)$", RUNBOOKS, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def commands(program: str) -> list[list[str]]:
    """Return the words of each command of the runbooks, in blocks and within lines, that runs a program."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", RUNBOOKS, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + INLINE.findall(RUNBOOKS)
    return [words for line in lines if (words := shlex.split(line))[0] == program]


def promtool(*arguments: str) -> str:
    """Return what promtool prints, and fail unless it finds no fault."""
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_accepts_configuration_and_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "config", "--lint=all", "prometheus.yml")


@needs_promtool
def test_promtool_accepts_the_configuration_for_kubernetes(tmp_path: Path) -> None:
    document = yaml.safe_load((MONITORING / "prometheus_kubernetes.yml").read_text())
    for one in document["scrape_configs"]:
        if one.pop("kubernetes_sd_configs", None):  # Debian's build of Prometheus is without it
            one["file_sd_configs"] = [{"files": ["pods.json"]}]
    document["rule_files"] = []
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(document))
    promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))


def test_both_configurations_name_the_jobs_that_the_alerts_name() -> None:
    named = set(re.findall(r'job="(\w+)"', (MONITORING / "alerts.yml").read_text()))
    for path in (MONITORING / "prometheus.yml", MONITORING / "prometheus_kubernetes.yml"):
        configured = {one["job_name"]: one for one in yaml.safe_load(path.read_text())["scrape_configs"]}
        assert set(configured) == named
        assert configured["pushgateway"]["honor_labels"]


def test_prometheus_finds_the_pods_that_say_so() -> None:
    annotated = set()
    for text in [path.read_text() for path in yaml_paths(INFRA / "kubernetes") + yaml_paths(INFRA / "schedules")]:
        found = re.findall(
            r"labels: \{app.kubernetes.io/name: ([a-z-]+).*\n.*prometheus.io/scrape: .*port: \"(\d+)\"", text
        )
        annotated |= set(found)
        assert len(found) == text.count("prometheus.io/scrape")
    assert annotated == {("gridline-serve", "8083"), ("gridline-ray", "8090")}
    jobs = yaml.safe_load((MONITORING / "prometheus_kubernetes.yml").read_text())["scrape_configs"]
    kept = [one["relabel_configs"][0]["regex"] for one in jobs if "relabel_configs" in one]
    assert kept == [name for name, _ in sorted(annotated, key=lambda pod: pod[1])]


@needs_promtool
@pytest.mark.parametrize("name", [path.name for path in TESTS])
def test_alerts_fire_and_stay_silent(name: str) -> None:
    assert "SUCCESS" in promtool("test", "rules", name)


def test_each_alert_is_fired_by_a_unit_test() -> None:
    fired = set()
    for path in TESTS:
        for world in yaml.safe_load(path.read_text())["tests"]:
            asked = {one["expr"]: one.get("exp_samples", []) for one in world.get("promql_expr_test", [])}
            fired |= {match[1] for expression, found in asked.items() if found and (match := FIRING.search(expression))}
    assert fired == {rule["alert"] for rule in rules()}


def test_each_alert_has_a_runbook_and_the_other_way_round() -> None:
    assert list(sections()) == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_and_what_it_means(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("name", sections())
def test_each_runbook_says_what_it_means_how_to_look_what_to_do_and_when_it_is_over(name: str) -> None:
    assert re.findall(r"^\*\*(\w+)\*\*", sections()[name], flags=re.MULTILINE) == PARTS
    assert "```bash" in sections()[name]


@pytest.mark.parametrize("words", commands("gridline"), ids=" ".join)
def test_commands_of_runbooks_are_ones_that_gridline_has(words: list[str]) -> None:
    for each in gridline_words(words):
        assert parsed(each)["verb"]


@pytest.mark.parametrize("words", commands("ray"), ids=" ".join)
def test_commands_of_runbooks_are_ones_that_ray_has(words: list[str]) -> None:
    from ray.scripts.scripts import cli

    command: Any = cli
    rest = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    assert command.make_context("ray", rest).params is not None


def test_commands_of_runbooks_name_addresses_that_answer() -> None:
    named = {words[1] for words in commands("curl")}
    paths = {url.removeprefix("http://127.0.0.1:8083") for url in named if ":8083" in url}
    assert paths == {"/livez", "/readyz"}
    assert named - {f"http://127.0.0.1:8083{path}" for path in paths} == {
        "http://127.0.0.1:9091/metrics",
        "http://127.0.0.1:9091/-/ready",
    }


def test_commands_of_runbooks_name_services_deployments_and_units_that_are_there() -> None:
    composed = {words[-1] for words in commands("docker") if words[1] == "compose" and words[-1] != "ps"}
    assert composed == {"serve", "follower", "pushgateway"}
    assert composed - {one.name for one in compose_services()} == set()
    objects = [document for _, document in manifests(INFRA / "kubernetes" / "base")]
    deployments = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Deployment"}
    asked = [words for words in commands("kubectl") if any(word.startswith("deployment/") for word in words)]
    assert {word.partition("/")[2] for words in asked for word in words if "/" in word} == {"gridline-serve"}
    containers = {one["name"] for one in deployments["gridline-serve"]["spec"]["template"]["spec"]["containers"]}
    assert {words[words.index("-c") + 1] for words in asked if "-c" in words} == containers == {"serve", "follower"}
    named = {word for word in RUNBOOKS.split() if word.startswith("gridline-train.") or word == "gridline-train"}
    assert named - {unit.name for unit in units()} - {"gridline-train"} == set()


def test_other_programs_of_runbooks_are_known() -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```$", RUNBOOKS, flags=re.MULTILINE | re.DOTALL)
    programs = {line.split()[0] for block in blocks for line in block.splitlines()}
    assert programs == OTHER_PROGRAMS | {"gridline", "ray"}
