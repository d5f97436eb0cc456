"""compose.yaml: it fits the schema of compose, waits for what it needs, keeps no secret, and agrees with other files.

Source of tests/data/compose/compose-spec.json: https://github.com/compose-spec/compose-spec
(schema/compose-spec.json, commit 170098ba07d9, Apache License 2.0).
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft7Validator

from jobs.config.reading import load_config
from tests.infra_files import Container, compose_services, documents, gridline_words, parsed

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "infra" / "compose"
SCHEMA = ROOT / "tests" / "data" / "compose" / "compose-spec.json"
SERVICES = {service.name: service for service in compose_services()}
OURS = {name: service for name, service in SERVICES.items() if service.image.startswith("gridline-")}
VOLUME = "/var/lib/gridline"


def document() -> Any:
    [only] = documents(FOLDER / "compose.yaml")
    return only


def arguments(service: Container) -> dict[str, Any]:
    [words] = gridline_words(service.words)
    return parsed(words)


def option(service: Container, name: str) -> str:
    """Return the value of an option of a command that is not gridline's."""
    text = " ".join(service.words)
    found = re.search(rf"{name}[= ](\S+)", text)
    assert found, f"{service.name} has no {name}: {text}"
    return found[1]


def test_compose_fits_the_schema() -> None:
    validator = Draft7Validator(json.loads(SCHEMA.read_text()))
    faults = [f"{'/'.join(map(str, fault.path))}: {fault.message}" for fault in validator.iter_errors(document())]
    assert faults == []


def test_compose_has_the_services_that_are_named_elsewhere() -> None:
    names = {"ray-head", "ray-worker", "s3", "serve", "follower", "pushgateway", "prometheus", "grafana"}
    assert names <= SERVICES.keys()
    scraped = yaml.safe_load((ROOT / "infra" / "monitoring" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in scraped for static in job["static_configs"] for target in static["targets"]}
    serve, head, worker = (SERVICES[name] for name in ("serve", "ray-head", "ray-worker"))
    metrics = {f"{one.name}:{option(one, '--metrics-export-port')}" for one in (head, worker)}
    gateway = option(SERVICES["pushgateway"], "--web.listen-address").strip(":")
    assert targets == {f"serve:{arguments(serve)['status_port']}", *metrics, f"pushgateway:{gateway}"}


def test_images_are_built_here_or_pinned() -> None:
    version = re.search(r'^fallback_version = "(.*?)"', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version
    for name, service in SERVICES.items():
        if name in OURS:
            target = service.raw["build"]["target"]
            assert service.image == f"gridline-{target}:{version[1]}"
            assert (FOLDER / service.raw["build"]["context"]).resolve() == ROOT
            assert (ROOT / service.raw["build"]["dockerfile"]).exists()
        else:
            assert re.search(r":(v?\d+\.\d+\.\d+|RELEASE\.[\dTZ-]+)(@sha256:[0-9a-f]{64})?$", service.image), name


def test_own_services_run_without_rights_and_write_the_volume_alone() -> None:
    for name, service in OURS.items():
        assert service.raw["read_only"], name
        assert service.raw["cap_drop"] == ["ALL"], name
        writable = [volume for volume in service.raw.get("volumes", []) if not volume.endswith(":ro")]
        assert all(volume.split(":")[1] == VOLUME for volume in writable), name
    serve, follower = SERVICES["serve"], SERVICES["follower"]
    assert serve.mounts == follower.mounts
    folder = Path(arguments(serve)["folder"])
    assert folder.is_relative_to(VOLUME)
    assert arguments(follower)["token_file"].parent == folder


def test_ports_are_open_to_this_machine_alone_and_management_to_the_follower() -> None:
    published = [port for service in SERVICES.values() for port in service.raw.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    serve, follower = arguments(SERVICES["serve"]), arguments(SERVICES["follower"])
    assert SERVICES["follower"].raw["network_mode"] == "service:serve"
    assert follower["management"] == f"http://127.0.0.1:{serve['management_port']}"
    assert not [port for port in published if port.endswith(f":{serve['management_port']}")]
    opened = {int(port.split(":")[-1]) for port in SERVICES["serve"].raw["ports"]}
    assert opened == {serve["port"], serve["status_port"]}
    assert (serve["host"], serve["status_host"]) == ("0.0.0.0", "0.0.0.0")  # noqa: S104


def test_addresses_name_services_and_their_ports() -> None:
    head, store = SERVICES["ray-head"], SERVICES["serve"].env
    submitted = urlsplit(option(SERVICES["train"], "--address"))
    assert (submitted.hostname, submitted.port) == ("ray-head", int(option(head, "--dashboard-port")))
    assert option(SERVICES["ray-worker"], "--address") == f"ray-head:{option(head, '--port')}"
    endpoint = urlsplit(store["AWS_ENDPOINT_URL"])
    assert (endpoint.hostname, f":{endpoint.port}") == ("s3", option(SERVICES["s3"], "--address"))
    assert store == SERVICES["follower"].env
    assert store.items() <= head.env.items()
    assert f'Bucket="{urlsplit(store["GRIDLINE_STORE"]).hostname}"' in " ".join(SERVICES["bucket"].words)


def test_a_service_waits_for_what_it_needs_and_checks_have_their_programs() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.raw.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert needed == "serve" or "test" in SERVICES[needed].raw["healthcheck"], f"{name} waits for {needed}"
            if how["condition"] == "service_completed_successfully":
                assert "restart" not in SERVICES[needed].raw, f"{needed} never completes"
    for service in OURS.values():
        check = service.raw.get("healthcheck", {}).get("test")
        assert check is None or check[:3] == ["CMD", "python", "/usr/local/lib/gridline/healthcheck.py"]
        grace_s = arguments(service)["grace_s"] if service.name == "serve" else 0
        assert int(service.raw.get("stop_grace_period", "10s").rstrip("s")) > grace_s


def test_secrets_come_from_the_env_file_alone() -> None:
    names = re.findall(r"^(\w+)=$", (FOLDER / ".env.example").read_text(), flags=re.MULTILINE)
    text = (FOLDER / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(names)
    for service in SERVICES.values():
        for name, value in service.env.items():
            if re.search(r"SECRET|PASSWORD|TOKEN|KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?.*\}", value), f"{service.name}: {name}"
    ignored = subprocess.run(["git", "check-ignore", "infra/compose/.env"], cwd=ROOT, check=False, capture_output=True)
    assert ignored.returncode == 0


def test_secrets_are_made_once_for_their_owner(tmp_path: Path) -> None:
    for name in ("secrets.sh", ".env.example"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    made = subprocess.run(["sh", tmp_path / "secrets.sh"], capture_output=True, text=True, check=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Z_]+=[0-9a-f]{40}", line) for line in lines)
    assert len({line.split("=")[1] for line in lines}) == len(lines) == 4
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    again = subprocess.run(["sh", tmp_path / "secrets.sh"], capture_output=True, text=True, check=True)
    assert (tmp_path / ".env").read_text().splitlines() == lines
    assert "made" in made.stdout
    assert "is there already" in again.stdout


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_the_data_of_the_job_is_where_its_configuration_says(name: str) -> None:
    config = yaml.safe_load((FOLDER / "job.yaml").read_text())
    example = yaml.safe_load((ROOT / "examples" / "plants.yaml").read_text())
    source = Path(config["datasets"][0].pop("source"))
    of_example = Path(example["datasets"][0].pop("source"))
    assert config == example
    mounted = SERVICES[name].mounts[str(source.parent)]
    assert (FOLDER / mounted / source.name).resolve() == ROOT / of_example
    assert load_config(FOLDER / "job.yaml").name == arguments(SERVICES["serve"])["collection"]
    assert SERVICES["ray-head"].mounts[str(arguments(SERVICES["train"])["config"])] == "./job.yaml"
