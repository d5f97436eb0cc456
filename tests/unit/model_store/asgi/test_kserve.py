"""The manifests of infra/kubernetes/kserve: they parse, fit each other, and name options that the command line has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from jobs.cli import app

FOLDER = Path(__file__).parents[4] / "infra" / "kubernetes" / "kserve"


def manifest(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def container() -> Any:
    [only] = manifest("serving_runtime.yaml")["spec"]["containers"]
    return only


def arguments() -> dict[str, str]:
    """Return the options of the container, by name."""
    program, verb, collection, *options = container()["args"]
    assert (program, verb, collection) == ("gridline", "serve", "{{.Name}}")
    return dict(option.split("=", 1) for option in options)


def test_kserve_arguments_are_options_of_serve() -> None:
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {name: parameter for parameter in serve.params for name in parameter.opts}
    context = serve.make_context("serve", ["plants", *(f"{name}={value}" for name, value in arguments().items())])
    assert arguments().keys() <= known.keys()
    assert context.params["host_with"] == "uvicorn"
    assert context.params["keys"] == Path("/etc/gridline/keys/key_file.json")


def test_kserve_ports_and_probes_are_those_of_the_arguments() -> None:
    found, given = container(), arguments()
    assert [port["containerPort"] for port in found["ports"]] == [int(given["--port"])]
    probes = {
        found[name]["httpGet"]["path"]: found[name]["httpGet"]["port"] for name in ("readinessProbe", "livenessProbe")
    }
    assert probes == dict.fromkeys(("/readyz", "/livez"), int(given["--status-port"]))


def test_kserve_paths_are_in_the_volumes() -> None:
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    volumes = {volume["name"] for volume in manifest("serving_runtime.yaml")["spec"]["volumes"]}
    assert {mount["name"] for mount in mounts.values()} == volumes
    assert not mounts[str(Path(arguments()["--folder"]).parent)].get("readOnly")
    assert str(Path(arguments()["--keys"]).parent) in mounts


def test_kserve_service_names_the_runtime_and_its_format() -> None:
    runtime, model = manifest("serving_runtime.yaml"), manifest("inference_service.yaml")["spec"]["predictor"]["model"]
    [served] = runtime["spec"]["supportedModelFormats"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"] == {"name": served["name"], "version": served["version"]}
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert {entry["name"] for entry in model["env"]} >= {"GRIDLINE_STORE"}
