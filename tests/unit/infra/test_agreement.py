"""All files of infra/ together: names, ports, images, variables, secrets, volumes and users are the same everywhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jobs.config.reading import load_config
from model_store.asgi.keys import read_keys
from tests.infra_files import (
    INFRA,
    ROOT,
    Container,
    compose_services,
    containers,
    containers_of,
    dockerfile_steps,
    dockerfiles,
    documents,
    gridline_words,
    manifests,
    named,
    parsed,
    unit_settings,
    units,
)

PORTS = {
    "inference": 8080,
    "management": 8081,
    "torchserve metrics": 8082,
    "status": 8083,
    "gcs-server": 6379,
    "dashboard": 8265,
    "metrics": 8090,
    "pushgateway": 9091,
    "prometheus": 9090,
    "grafana": 3000,
    "s3": 9000,
}
SECRETS = {
    "gridline-store": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "gridline-store-server": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "gridline-store-gc": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "gridline-keys": {"key_file.json"},
    "gridline-ray-token": {"auth_token"},
}
OF_STORE = {"GRIDLINE_STORE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
VARIABLES = OF_STORE | {"RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "SUBMISSION"}
USER = 1000
FOLDER = "/var/lib/gridline"
BASE = INFRA / "kubernetes" / "base"
KUBERNETES = [(path, each) for path, each in manifests() if "overlays" not in path.parts]
OF_PODS = [each for path, document in KUBERNETES for each in containers_of(path, document)]
OF_GRIDLINE = [each for each in containers() if each.image.partition(":")[0] in {"gridline-job", "gridline-serve"}]


def settings() -> dict[str, str]:
    """Return what the ConfigMap gridline-settings gives to containers that name it."""
    lines = (BASE / "settings.env").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines if line and not line.startswith("#"))


def variables(container: Container) -> dict[str, Any]:
    """Return the variables of a container, those of ConfigMaps too."""
    refers = [each["configMapRef"]["name"] for each in container.raw.get("envFrom", [])]
    assert set(refers) <= {"gridline-settings"}
    return {**(settings() if refers else {}), **container.env}


def secrets(value: Any) -> list[tuple[str, set[str]]]:
    """Return the secrets that a document names, and the keys that it reads of each."""
    if isinstance(value, list):
        return [found for each in value for found in secrets(each)]
    if not isinstance(value, dict):
        return []
    found = [one for each in value.values() for one in secrets(each)]
    if reference := value.get("secretKeyRef"):
        found.append((reference["name"], {reference["key"]}))
    if "secretName" in value:
        found.append((value["secretName"], set()))
    return found


def test_manifests_run_the_images_of_the_dockerfile_and_nothing_else() -> None:
    assert {each.image for each in OF_PODS} == {"gridline-job", "gridline-serve"}
    targets = {
        target for path in dockerfiles() for target, instruction, _ in dockerfile_steps(path) if instruction == "FROM"
    }
    assert not targets or {"job", "serve"} <= targets


def test_tags_of_images_are_the_version_of_gridline() -> None:
    tags = {
        image["name"]: str(image["newTag"])
        for path in INFRA.rglob("kustomization.yaml")
        for image in documents(path)[0].get("images", [])
    }
    assert set(tags) == {"gridline-job", "gridline-serve"}
    own = {each.image.partition(":")[2] for each in OF_GRIDLINE} - {""}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version = settings["project"].get("version") or settings["tool"]["setuptools_scm"]["fallback_version"]
    assert {*tags.values(), *own} == {version}


def test_every_port_of_a_container_is_the_one_of_its_name() -> None:
    for each in OF_PODS:
        for port in each.raw.get("ports", []):
            name = "inference" if port["name"] == "http1" else port["name"]
            assert PORTS[name] == port["containerPort"], f"{named(each.path)} {each.name}"


@pytest.mark.parametrize("container", OF_GRIDLINE, ids=lambda each: f"{each.path.stem}:{each.name}")
def test_ports_and_folders_of_a_server_are_those_of_its_file(container: Container) -> None:
    for words in gridline_words(container.words):
        options = parsed(words)
        if options["verb"] == "serve":
            served = [options["port"], options["management_port"], options["metrics_port"], options["status_port"]]
            assert served == [8080, 8081, 8082, 8083]
            assert str(options["folder"]) == f"{FOLDER}/server"
        if options["verb"] == "deploy":
            assert options["management"] == f"http://127.0.0.1:{PORTS['management']}"
            assert str(options["token_file"]) in {f"{FOLDER}/server", f"{FOLDER}/server/key_file.json"}


@pytest.mark.parametrize("container", OF_GRIDLINE, ids=lambda each: f"{each.path.stem}:{each.name}")
def test_variables_have_known_names_and_a_store_is_named_whole(container: Container) -> None:
    given = variables(container)
    unknown = {name for name in given if name not in VARIABLES and name.startswith(("AWS_", "RAY_", "GRIDLINE_"))}
    assert not unknown, f"{named(container.path)} {container.name}"
    uses_store = any(parsed(words)["verb"] in {"serve", "deploy", "gc"} for words in gridline_words(container.words))
    if uses_store and "{{.Name}}" not in container.words:  # of KServe the service names the store
        assert given.keys() >= OF_STORE, f"{named(container.path)} {container.name}"
        assert given["GRIDLINE_STORE"] == settings()["GRIDLINE_STORE"]


def test_secrets_are_the_known_ones_and_values_stand_in_no_manifest() -> None:
    for path, document in KUBERNETES:
        for name, keys in secrets(document):
            assert keys <= SECRETS[name], f"{named(path)}: {name}"
    for each in OF_PODS:
        for name, value in each.env.items():
            is_secret = re.search(r"SECRET|TOKEN$|ACCESS_KEY", name)
            assert not is_secret or isinstance(value, dict), f"{named(each.path)}: {name} stands there in plain text"


def test_documentation_makes_every_secret_with_every_key() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    for name, keys in SECRETS.items():
        [made] = re.findall(rf"create secret generic {name} ((?:.*\\\n)*.*)\n", page)
        assert all(f"={key}" in made or f"{key}=" in made for key in keys), f"{name}: {made}"


def test_documentation_makes_keys_that_uvicorn_takes(tmp_path: Path) -> None:
    [command] = re.findall(
        r"^python3 (-c .*) > key_file.json$", (ROOT / "docs" / "kubernetes.md").read_text(), re.MULTILINE
    )
    made = subprocess.run([sys.executable, *shlex.split(command)], capture_output=True, text=True, check=True)
    (tmp_path / "key_file.json").write_text(made.stdout)
    assert len(read_keys(tmp_path / "key_file.json").inference) >= 32


def test_collection_of_servers_is_that_of_the_job() -> None:
    name = load_config(BASE / "job" / "job.yaml").name
    for container in OF_GRIDLINE:
        for words in gridline_words(container.words):
            collection = parsed(words).get("collection")
            assert collection in {None, name, "{{.Name}}"}, f"{named(container.path)} {container.name}"
    service = next(each for _, each in KUBERNETES if each["kind"] == "InferenceService")
    assert service["metadata"]["name"] == name


def test_compose_and_kubernetes_run_the_same_servers() -> None:
    def servers(found: list[Container]) -> dict[str, list[dict[str, Any]]]:
        return {each.name: [parsed(words) for words in gridline_words(each.words)] for each in found}

    path = BASE / "serve.yaml"
    own = [each for document in documents(path) for each in containers_of(path, document)]
    assert [each.name for each in own] == ["serve", "follower"]
    assert servers(own) == servers([each for each in compose_services() if each.name in {"serve", "follower"}])


def test_data_of_the_example_are_those_of_examples() -> None:
    copied = BASE / "job" / "plant_richness.tsv"
    assert copied.read_bytes() == (ROOT / "examples" / "data" / copied.name).read_bytes()


def test_users_are_the_same_in_images_and_manifests() -> None:
    for path in dockerfiles():
        assert {text for _, instruction, text in dockerfile_steps(path) if instruction == "USER"} == {f"{USER}:{USER}"}
    for path in units():
        users = {value for _, key, value in unit_settings(path) if key in {"User", "Group"}}
        assert path.suffix == ".timer" or users == {"gridline"}, named(path)


def test_prometheus_scrapes_ports_that_something_opens() -> None:
    [configuration] = documents(INFRA / "monitoring" / "prometheus.yml")
    for job in configuration["scrape_configs"]:
        for target in [each for group in job.get("static_configs", []) for each in group["targets"]]:
            assert urlsplit(f"//{target}").port in PORTS.values(), target


def test_policies_of_the_store_are_about_the_bucket_of_the_settings() -> None:
    store = settings()["GRIDLINE_STORE"].removeprefix("s3://")
    for path in (INFRA / "iam").glob("*.json"):
        bucket, resources = store.partition("/")[0], Path(path).read_text()
        assert f'"arn:aws:s3:::{bucket}"' in resources
        assert f"arn:aws:s3:::{store}/" in resources
