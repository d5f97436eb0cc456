"""The files of infra/, read as their programs read them: manifests, compose, units of systemd, crontab, Dockerfile.

`commands()` has every command that these files run, `containers()` every container, `gridline_words` the part of a
command that gridline gets, and `parsed` asks the real command line: an option that does not exist fails the test.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from jobs.cli import app

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"
CRONTAB_FIELDS = 5
OPERATORS = {"&&", "||", ";", "|", ">", ">>", "2>&1", "<", "then", "fi", "do", "done"}


@dataclass(frozen=True)
class Container:
    """A container of a manifest or of compose; `env` has a value, or the reference from which it comes."""

    path: Path
    name: str
    image: str
    words: tuple[str, ...]
    env: dict[str, Any] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command line and where it stands, such as `infra/schedules/crontab`."""

    where: str
    words: tuple[str, ...]


def named(path: Path) -> str:
    """Return the path from the root of the repository, for messages and the names of tests."""
    return str(path.relative_to(ROOT))


def yaml_paths(below: Path = INFRA) -> list[Path]:
    """Return every YAML file below a folder."""
    return sorted(path for path in below.rglob("*") if path.suffix in {".yaml", ".yml"})


def documents(path: Path) -> list[Any]:
    """Return the documents of a YAML file, without empty ones. A key that stands twice is an error."""
    return [document for document in yaml.load_all(path.read_text(), _StrictLoader) if document is not None]


def manifests(below: Path = INFRA) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every document that Kubernetes reads, patches among them, and its file."""
    for path in yaml_paths(below):
        for document in documents(path):
            if isinstance(document, dict) and "kind" in document and "kustomize" not in document["apiVersion"]:
                yield path, document


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every pod's specification within a manifest: of a Deployment, a CronJob, a RayCluster, …"""
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield value
        for each in value.values():
            yield from pods(each)
    elif isinstance(value, list):
        for each in value:
            yield from pods(each)


def containers_of(path: Path, document: dict[str, Any]) -> Iterator[Container]:
    """Yield the containers of a manifest, those that run before the others too."""
    for pod in pods(document):
        for raw in [*pod["containers"], *pod.get("initContainers", [])]:
            yield _container(path, raw)


def containers() -> list[Container]:
    """Return every container of the manifests and of compose."""
    found = [each for path, document in manifests() for each in containers_of(path, document)]
    return found + compose_services()


def compose_services() -> list[Container]:
    """Return the services of compose as containers; empty if there is no such file."""
    path = INFRA / "compose" / "compose.yaml"
    if not path.exists():
        return []
    [document] = documents(path)
    return [_service(path, name, raw) for name, raw in document["services"].items()]


def unit_settings(path: Path) -> list[tuple[str, str, str]]:
    """Return section, key and value of each line of a unit of systemd, in their order."""
    section, found = "", []
    for line in _joined_lines(path):
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith(("#", ";")):
            key, value = line.split("=", 1)
            found.append((section, key.strip(), value.strip()))
    return found


def units() -> list[Path]:
    """Return the units of systemd."""
    return sorted(path for path in INFRA.rglob("*") if path.suffix in {".service", ".timer"})


def crontab_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the times and the command of each line of a crontab."""
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#") or re.match(r"\s*\w+\s*=", line):
            continue
        words = line.split(None, 1 if line.startswith("@") else CRONTAB_FIELDS)
        yield " ".join(words[:-1]), words[-1]


def dockerfile_steps(path: Path) -> list[tuple[str, str, str]]:
    """Return target, instruction and its text, for each step of a Dockerfile."""
    target, found = "", []
    for line in _joined_lines(path):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        instruction, _, text = line.strip().partition(" ")
        if instruction.upper() == "FROM":
            target = re.split(r"\s+[Aa][Ss]\s+", text)[-1].strip()
        found.append((target, instruction.upper(), text.strip()))
    return found


def dockerfiles() -> list[Path]:
    """Return the Dockerfiles."""
    return sorted(INFRA.rglob("Dockerfile*"))


def commands() -> list[Command]:
    """Return every command that a file of infra/ runs."""
    found = [Command(f"{named(each.path)} {each.name}", each.words) for each in containers() if each.words]
    for path, document in manifests():
        if entrypoint := document.get("spec", {}).get("entrypoint"):
            found.append(Command(f"{named(path)} entrypoint", tuple(shlex.split(entrypoint))))
    for path in units():
        lines = [value.lstrip("-@:+!") for _, key, value in unit_settings(path) if key.startswith("Exec")]
        found += [Command(named(path), tuple(shlex.split(line))) for line in lines]
    for path in sorted(INFRA.rglob("*crontab")):
        found += [Command(named(path), tuple(shlex.split(command))) for _, command in crontab_lines(path)]
    for path in dockerfiles():
        for target, instruction, text in dockerfile_steps(path):
            if instruction in {"CMD", "ENTRYPOINT"}:
                found.append(Command(f"{named(path)} {target}", tuple(_exec_form(text))))
    return found


def gridline_words(words: Sequence[str]) -> list[list[str]]:
    """Return what gridline gets in each place of a command where it runs: also within `sh -c` and after `--`."""
    found: list[list[str]] = []
    for index, word in enumerate(words):
        if " " in word and "gridline " in word:
            found += gridline_words(_shell_words(word))
        runs = re.fullmatch(r"(.*/bin/)?gridline", word) or list(words[index - 1 : index + 1]) == ["-m", "jobs"]
        if runs and index + 1 < len(words) and not words[index + 1].startswith("/"):
            rest = list(words[index + 1 :])
            end = next((at for at, each in enumerate(rest) if each in OPERATORS), len(rest))
            found.append(rest[:end])
    return found


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that the real command line reads from the words, by their names.

    Fails with the command line's own message for a verb, an option or a value that it refuses.
    """
    command: Any = get_command(app)
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            raise AssertionError(f"no verb {rest[0]!r} in: gridline {' '.join(words)}")
        command = command.commands[rest.pop(0)]
    context = command.make_context("gridline", rest)
    return {"verb": command.name, **context.params}


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's readers silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in names]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _container(path: Path, raw: dict[str, Any]) -> Container:
    env = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in raw.get("env", [])}
    mounts = {mount["mountPath"]: mount["name"] for mount in raw.get("volumeMounts", []) if "mountPath" in mount}
    ports = tuple(port["containerPort"] for port in raw.get("ports", []))
    words = tuple(str(word) for word in [*raw.get("command", []), *raw.get("args", [])])
    return Container(path, raw.get("name", ""), raw.get("image", ""), words, env, mounts, ports, raw)


def _service(path: Path, name: str, raw: dict[str, Any]) -> Container:
    words = tuple(word for key in ("entrypoint", "command") for word in _list_of_words(raw.get(key)))
    env = raw.get("environment") or {}
    if isinstance(env, list):
        env = dict(entry.partition("=")[::2] for entry in env)
    mounts = {}
    for volume in raw.get("volumes", []):
        source, target = (volume["source"], volume["target"]) if isinstance(volume, dict) else volume.split(":")[:2]
        mounts[target] = source
    return Container(path, name, raw.get("image", ""), words, dict(env), mounts, (), raw)


def _list_of_words(value: str | list[Any] | None) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else [str(word) for word in value or []]


def _exec_form(text: str) -> list[str]:
    return [str(word) for word in json.loads(text)] if text.startswith("[") else shlex.split(text)


def _shell_words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    return list(lexer)


def _joined_lines(path: Path) -> list[str]:
    return re.sub(r"\\\n\s*", " ", path.read_text()).splitlines()
