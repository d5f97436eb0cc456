"""The Dockerfile: what it copies is there, packages have versions; user, volume, ports and health check agree."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from model_store.status.port import Page, StatusPort
from tests.infra_files import dockerfile_steps, parsed
from tests.unit.test_imports import MODULES, imported

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "infra" / "containers"
HEALTHCHECK = FOLDER / "healthcheck.py"
IMAGES = ("job", "serve")
OF_A_SERVER = ("serving", "deployment", "tryouts", "keys", "models", "options", "output")  # verbs of the image `serve`
NOT_RUN = {"onnx", "mypy_boto3_s3"}  # who exports ONNX installs it; types alone
STEPS = dockerfile_steps(FOLDER / "Dockerfile")


def text_of(target: str, instruction: str) -> str:
    """Return the text of the last such instruction of a target, or of the target that it begins from."""
    found = [text for stage, kind, text in STEPS if (stage, kind) == (target, instruction)]
    if found:
        return found[-1]
    [base] = [text for stage, kind, text in STEPS if (stage, kind) == (target, "FROM")]
    return text_of(base.split()[0], instruction)


def names(path: Path) -> set[str]:
    """Return the packages that a list names; fails for a version, which only the lock has."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert not [line for line in lines if re.search(r"[=<>~;]", line)]
    assert lines == sorted(lines)
    return {name_of(line) for line in lines}


def left_out(path: Path) -> set[str]:
    found = re.findall(r"^# left out: ([^(]*)", path.read_text(), flags=re.MULTILINE)
    return {name_of(name.strip()) for line in found for name in line.split(",")}


def locked() -> set[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {name_of(line) for line in lines}


@cache
def needs(package: str, extras: tuple[str, ...] = ()) -> set[str]:
    """Return the packages that a package needs here: what its markers leave out is not installed, or has an extra."""
    found = set()
    for line in metadata.requires(package) or []:
        extra = re.search(r"extra == ['\"](.*?)['\"]", line)
        if (extra is None or extra[1] in extras) and is_installed(name_of(line)):
            found.add(name_of(line))
    return found


def is_installed(package: str) -> bool:
    """Return whether a package is installed; those that others bring in a folder of their own, as ray does, are not."""
    folders = [folder for folder in sys.path if folder.endswith("site-packages")]
    return any(metadata.distributions(name=package, path=folders))


def name_of(requirement: str) -> str:
    """Return the normalized name of a requirement such as `ray[default]>=2 ; python_version > "3"`."""
    [name] = re.findall(r"^[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_base_is_pinned_by_tag_and_digest_for_every_stage() -> None:
    [base] = [text for _, kind, text in STEPS if kind == "ARG" and text.startswith("BASE_IMAGE=")]
    assert re.fullmatch(r"BASE_IMAGE=docker\.io/library/python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    stages = {stage for stage, _, _ in STEPS}
    bases = {text.split()[0] for _, kind, text in STEPS if kind == "FROM"}
    assert bases <= stages | {"${BASE_IMAGE}"}


def test_the_wheel_has_what_builds_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = [text for stage, kind, text in STEPS if (stage, kind) == ("builder", "RUN") and "install -c" in text]
    builds = {name_of(one) for one in project["build-system"]["requires"]}
    assert builds <= set(installed[0].split())


def test_what_is_copied_exists_and_nothing_else_reaches_the_builder() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source for _, kind, text in STEPS if kind == "COPY" and "--from" not in text for source in text.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, name) or source.startswith(f"{name}/") for name in allowed), source
    for name in allowed:
        assert any(source == name or source.startswith(f"{name}/") for source in copied), f"{name} is never copied"


def test_the_wheel_of_the_image_has_every_package_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {text.split()[0].split("/")[0] for stage, kind, text in STEPS if (stage, kind) == ("builder", "COPY")}
    assert packages <= copied


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_without_rights_and_writes_one_volume(image: str) -> None:
    assert text_of(image, "USER") == "1000:1000"
    assert text_of(image, "VOLUME") == text_of(image, "WORKDIR") == "/var/lib/gridline"
    assert text_of(image, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(text_of(image, "ENTRYPOINT")) == ["tini", "--"]
    settings = dict(word.split("=", 1) for word in shlex.split(text_of("runtime", "ENV")))
    assert (settings["HOME"], settings["TMPDIR"]) == ("/var/lib/gridline", "/var/lib/gridline")


def test_ports_health_check_and_command_of_the_server_agree() -> None:
    arguments = parsed(json.loads(text_of("serve", "CMD"))[1:])
    assert Path(arguments["folder"]).is_relative_to(text_of("serve", "VOLUME"))
    ports = {arguments[name] for name in ("port", "metrics_port", "status_port")}
    assert {int(port) for port in text_of("serve", "EXPOSE").split()} == ports
    program, script, address = json.loads(text_of("serve", "HEALTHCHECK").split("CMD ")[1])
    assert (program, address) == ("python", f"http://127.0.0.1:{arguments['status_port']}/readyz")
    copies = [text.split() for _, kind, text in STEPS if kind == "COPY"]
    assert ["infra/containers/healthcheck.py", script] in copies


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_of_an_image_has_its_version_from_the_lock(image: str) -> None:
    missing = set(found := names(FOLDER / f"{image}.txt"))
    while missing:
        assert missing <= locked()
        found |= missing
        extras = ("default", "serve", "train")
        missing = {need for name in missing for need in needs(name, extras if name == "ray" else ())} - found
        missing -= left_out(FOLDER / f"{image}.txt")


def test_the_list_of_serve_is_whole_and_leaves_out_only_what_it_says() -> None:
    path = FOLDER / "serve.txt"
    needed = {need for name in names(path) for need in needs(name)}
    assert needed - names(path) <= left_out(path)
    assert not names(path) & left_out(path)
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    unknown = {name_of(one) for one in direct} - names(path) - left_out(path)
    assert unknown == set(), "name each in serve.txt: as a package of the image, or as left out"


def test_every_direct_dependency_is_in_an_image() -> None:
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    installed = names(FOLDER / "job.txt") | names(FOLDER / "serve.txt")
    assert {name_of(one) for one in direct} - installed == {"scikit-learn"}


def test_what_a_server_imports_is_in_its_image() -> None:
    own = {"gridline", "jobs", "model_store", "handler", "infra", *sys.stdlib_module_names}
    distributions = metadata.packages_distributions()
    paths = [path for path in MODULES if path.relative_to(ROOT).parts[0] in {"model_store", "handler"}]
    paths += [ROOT / "jobs" / "cli" / f"{verb}.py" for verb in OF_A_SERVER]
    for path in paths:
        for top in {name.split(".")[0] for name in imported(path)} - own - NOT_RUN:
            owners = {name_of(name) for name in distributions[top]}
            assert owners & names(FOLDER / "serve.txt"), f"{path.relative_to(ROOT)} imports {top}: name it in serve.txt"


def ask(address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, HEALTHCHECK, address], capture_output=True, text=True, check=False)


def test_healthcheck_is_0_for_200_and_1_with_the_reason_for_all_else() -> None:
    pages = {"/fine": lambda: Page(200, "ok\n"), "/bad": lambda: Page(503, "plants: no answer\n")}
    with StatusPort("127.0.0.1", 0, pages) as served:
        address = f"http://127.0.0.1:{served.port}"
        fine, bad = ask(f"{address}/fine"), ask(f"{address}/bad")
    gone = ask(f"{address}/fine")
    assert (fine.returncode, fine.stdout) == (0, "200 ok\n")
    assert (bad.returncode, bad.stdout) == (1, "503 plants: no answer\n")
    assert gone.returncode == 1
    assert "does not answer" in gone.stdout
    assert fine.stderr + bad.stderr + gone.stderr == ""
