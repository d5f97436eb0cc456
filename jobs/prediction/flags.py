"""The options of reading as they are typed, as the configuration of a dataset has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from jobs.config import ReadingConfig
from jobs.config.rendering import render
from jobs.errors import UsageError
from jobs.prediction.input import Reading
from jobs.sources.read_options import read_options

WHOLE = ("skiprows", "skipfooter", "header", "sheet_name")
ESCAPES = {"\\t": "\t"}


def reading_of(flags: Mapping[str, str | Sequence[str]], *, may_lack: bool = False) -> Reading:
    """Return how files are read, by keys of a dataset with texts: `[a, b]` is a list, `{a: b}` a mapping.

    Raises UsageError for a value that the configuration would refuse.
    """
    values = {name: _value(name, value) for name, value in flags.items()}
    try:
        config = ReadingConfig.model_validate(values)
    except ValidationError as exc:
        problem = render(exc.errors(include_url=False)[0], values)
        key, _, reason = problem.text.partition(": ")
        raise UsageError(f"--{key.replace('_', '-')}: {reason}") from exc
    return Reading(config.format, read_options(config), may_lack)


def _value(name: str, value: str | Sequence[str]) -> Any:
    if not isinstance(value, str):
        return _value(name, value[0]) if len(value) == 1 else list(value)
    if value[:1] in ("[", "{") and len(value) > 1:
        try:
            return _plain(name, yaml.load(value, yaml.BaseLoader))  # noqa: S506 - BaseLoader makes texts only
        except yaml.YAMLError as exc:
            raise UsageError(f"--{name.replace('_', '-')}: {value!r} is neither a list nor a mapping: [a, b]") from exc
    return _plain(name, ESCAPES.get(value, value))


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    return int(value) if name in WHOLE and isinstance(value, str) and value.isdecimal() else value
