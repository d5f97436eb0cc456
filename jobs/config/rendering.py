"""Render an error of pydantic in one line: the key, the value, the reason, and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from jobs.config.job import JobConfig
from jobs.config.values import REFUSED

KeyPath = tuple[str | int, ...]

_REASONS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "literal_error": lambda ctx: f"is not one of its values: write {ctx['expected']}",
    "greater_than": lambda ctx: f"is not above {ctx['gt']:g}: write a greater number",
    "greater_than_equal": lambda ctx: f"is below {ctx['ge']:g}: write a number from {ctx['ge']:g}",
    "less_than": lambda ctx: f"is not below {ctx['lt']:g}: write a smaller number",
    "less_than_equal": lambda ctx: f"is above {ctx['le']:g}: write a number up to {ctx['le']:g}",
    "too_short": lambda ctx: f"has {ctx['actual_length']} items: write {ctx['min_length']} or more",
    "too_long": lambda ctx: f"has {ctx['actual_length']} items: write no more than {ctx['max_length']}",
    "string_too_short": lambda ctx: f"is shorter than {ctx['min_length']} characters: write more",
    "string_too_long": lambda ctx: f"is longer than {ctx['max_length']} characters: write fewer",
    "string_pattern_mismatch": lambda _: (
        "can't name a model of TorchServe: write letters, digits, '_', '.' and '-', a letter or digit first"
    ),
    "model_type": lambda _: "is not a mapping: write keys and values below it",
    "tuple_type": lambda _: "is not a list: write one, such as [a, b]",
}


@dataclass(frozen=True)
class Problem:
    """The text of an error, one line without file and line number, and the keys that lead to it."""

    path: KeyPath
    text: str
    unknown_key: bool = False


def key_path(path: KeyPath) -> str:
    """Return the path of a key as people write it: `datasets[0].features[1].transform`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the configuration"


def render(error: ErrorDetails, document: Any) -> Problem:
    """Return what `error`, found in `document`, says."""
    path: KeyPath = tuple(step for step in error["loc"] if not str(step).startswith("!"))
    if error["type"] == "extra_forbidden":
        return Problem(path, f"{key_path(path)}: the key is unknown: {_remedy(path)}", unknown_key=True)
    if error["type"] == "missing":
        return Problem(path, f"{key_path(path)}: the key is missing: add it")
    context = error.get("ctx", {})
    if error["type"] == REFUSED:
        path += tuple(int(step) if step.isdigit() else step for step in context["key"].split(".") if step)
        reason = str(context["reason"])
    else:
        reason = _REASONS[error["type"]](context) if error["type"] in _REASONS else f"is refused: {error['msg']}"
    path, value = _existing(path, document)
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    quoted = "" if value == () or "credentials" in reason else f"{shown} "
    return Problem(path, f"{key_path(path)}: {quoted}{reason}")


def _existing(path: KeyPath, document: Any) -> tuple[KeyPath, Any]:
    """Return the beginning of `path` that the document has, and the value there."""
    value = document
    for depth, step in enumerate(path):
        inside = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
        if not inside:
            return path[:depth], value
        value = value[step]
    return path, value


def _remedy(path: KeyPath) -> str:
    """Return what to write instead of the unknown key at the end of `path`."""
    key = str(path[-1])
    valid = _fields_at(path[:-1])
    close = difflib.get_close_matches(key, valid, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    elsewhere = [name for name in ("grid", "training", "select", "store") if key in _fields_at((name,))]
    if elsewhere:
        return f"it belongs in '{elsewhere[0]}'"
    return f"remove it, or write one of {', '.join(valid) or 'none'}"


def _fields_at(path: KeyPath) -> list[str]:
    """Return the keys of the section at `path`."""
    model: type[BaseModel] | None = JobConfig
    for step in path:
        if isinstance(step, str) and model is not None:
            field = model.model_fields.get(step)
            model = _model_of(field.annotation) if field else None
    return list(model.model_fields) if model else []


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field's type holds: itself, in a tuple, or as one of several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_of(inner)) is not None), None)
