"""A configuration file as a `JobConfig`: YAML with the line of every key, read by the rules of YAML 1.2.

Those rules read `1e-4` as a number, and `no`, `on` and `2020-01-01` as strings, which YAML 1.1 does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from jobs.config.job import JobConfig
from jobs.config.rendering import KeyPath, Problem, key_path, render
from jobs.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, with underscores in whole numbers; it counts the values, which aliases repeat."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.left = MOST_VALUES + len(text)

    def count(self, file: str) -> None:
        """Count one more value. Raises ConfigError if there are too many."""
        self.left -= 1
        if self.left < 0:
            raise ConfigError(f"{file}: aliases repeat its values more than {MOST_VALUES} times: write them out")

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (the base's own type)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


Lines = Mapping[KeyPath, int]  # the line of each key and item

LARGE = 100_000  # characters
DEEP = 200
MOST_VALUES = 200_000  # of a file, and one for each of its characters: aliases of aliases are exponentially many
BRACKETS = re.compile(r"[][{}]")
INDENTS = re.compile(r"^[ ?:-]*", re.MULTILINE)


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # (absent without libyaml)
    """The same, read by libyaml."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def load_config(path: str | Path) -> JobConfig:
    """Return the configuration in the file at `path`. Raises ConfigError, whose message is one line."""
    value, lines = _read(Path(path))
    if not isinstance(value, dict):
        content = "is empty" if value is None else f"holds a {'list' if isinstance(value, list) else 'single value'}"
        raise ConfigError(
            f"{path}:1: the file {content}, not a configuration: begin with 'name:', 'datasets:', 'grid:'"
        )
    try:
        return JobConfig.model_validate(value)
    except ValidationError as exc:
        problem = _first_problem(exc, value, lines)
        raise ConfigError(f"{path}:{_line(problem.path, lines)}: {problem.text}") from exc


def make_config(value: Mapping[str, Any]) -> JobConfig:
    """Return the configuration of a dictionary with the keys of the YAML file. Raises ConfigError."""
    try:
        return JobConfig.model_validate(value)
    except ValidationError as exc:
        raise ConfigError(_first_problem(exc, value, {}).text) from exc


def _first_problem(error: ValidationError, value: Any, lines: Lines) -> Problem:
    """Return the first problem in the file; an unknown key comes before all, because it explains a missing key."""
    problems = [render(detail, value) for detail in error.errors(include_url=False)]
    within = {problem.path[:end] for problem in problems for end in range(len(problem.path))}
    causes = [problem for problem in problems if problem.path not in within]
    return min(causes, key=lambda problem: (not problem.unknown_key, _line(problem.path, lines)))


def _line(path: KeyPath, lines: Lines) -> int:
    """Return the line of the longest beginning of `path` that the file has."""
    return next((lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in lines), 1)


def _read(path: Path) -> tuple[Any, Lines]:
    """Return the value of a YAML file, and the line (from 1) of each key and item."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        loader = _Loader(text)
        node = _node_of_large(text) or loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        return None if node is None else _value(loader, node, (), lines, str(path)), lines
    except OSError as exc:
        raise ConfigError(f"{path}: the configuration can't be read: {exc.strerror}. Check the path") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"{path}: byte {exc.start} (0x{exc.object[exc.start]:02x}) is not UTF-8: save the file as UTF-8"
        ) from exc
    except yaml.YAMLError as exc:
        raise ConfigError(_syntax_error(path, exc)) from exc
    except RecursionError as exc:
        raise ConfigError(f"{path}: the YAML is nested without end: remove the alias that contains itself") from exc


def _node_of_large(text: str) -> yaml.Node | None:
    """Return the node of a large file by libyaml, ten times as fast; None if PyYAML has to read it.

    libyaml has other messages, and PyYAML's binding to it ends the process if a file is nested too deeply.
    """
    if len(text) < LARGE or not yaml.__with_libyaml__:
        return None
    depths = accumulate(1 if bracket in "[{" else -1 for bracket in BRACKETS.findall(text))
    if max(map(len, INDENTS.findall(text))) > DEEP or max(depths, default=0) > DEEP:
        return None
    with suppress(yaml.YAMLError):
        node: yaml.Node | None = _FastLoader(text).get_single_node()
        return node
    return None


def _value(loader: _Loader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str) -> Any:
    """Return the value of a node; `lines` gets the line of every key and item below it."""
    lines.setdefault(path, node.start_mark.line + 1)
    loader.count(file)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*path, at), lines, file) for at, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    _refuse_duplicates(node, path, file)
    loader.flatten_mapping(node)
    value = {}
    for key_node, value_node in node.value:
        lines[(*path, key_node.value)] = key_node.start_mark.line + 1
        value[key_node.value] = _value(loader, value_node, (*path, key_node.value), lines, file)
    return value


def _refuse_duplicates(node: yaml.MappingNode, path: KeyPath, file: str) -> None:
    first: dict[str, int] = {}
    for key_node, _ in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{file}:{line}: {key_path(path)}: a key is a list or a mapping: write a word")
        if key_node.value in first:
            raise ConfigError(
                f"{file}:{line}: {key_path((*path, key_node.value))}: the key is given twice, "
                f"first at line {first[key_node.value]}: remove one"
            )
        first[key_node.value] = line


def _syntax_error(path: Path, error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    mark = getattr(error, "problem_mark", None)
    where, column = (f"{path}:{mark.line + 1}", f" at column {mark.column + 1}") if mark is not None else (path, "")
    return f"{where}: the YAML is not valid{column}: {' '.join(str(problem).split())}. Correct it"
