"""What a caller asks: a request as a host received it, and the query that it becomes.

`parsing.py` reads one into the other; `instances.py` turns the instances of a query into columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .instances import Instances

Protocol = Literal["instances", "inputs"]
Extra = Literal["error", "ignore"]
AnswerFormat = Literal["json", "csv", "lines"]
Method = Literal["GET", "POST"]


@dataclass(frozen=True)
class Field:
    """A field of a form: its content, and its type where the form tells one."""

    content: object
    content_type: str = ""


@dataclass(frozen=True)
class Request:
    """A request as a host received it.

    `body` is bytes, text, or JSON that the host has decoded. The address gives `dataset` (its last part), `explain` (a
    form of it), `parameters` (its query) and whether it names a version. The names of `headers` are in lower case. A
    form, and a message of gRPC, has fields instead of a body.
    """

    body: object = b""
    content_type: str = "application/json"
    dataset: str | None = None
    explain: bool = False
    method: Method = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, Field] | None = None
    names_version: bool = False


@dataclass(frozen=True)
class Output:
    """An output that a request of the Open Inference protocol names, and whether as bytes (None: as the others)."""

    name: str
    binary: bool | None = None


@dataclass(frozen=True)
class Query:
    """A parsed request. `dataset` is one for all instances, one for each, or None if the instances name it.

    `extra` tells what becomes of names that are no features. `outputs` are those of the Open Inference protocol that
    are wanted (None: all), `binary` whether as bytes. `answer` is the format of the answer, and `header` whether a CSV
    has a line of names.
    """

    instances: Instances
    protocol: Protocol = "instances"
    dataset: str | tuple[str, ...] | None = None
    interval: float | None = None
    extrapolation: bool = False
    explanations: bool = False
    id: str | None = None
    extra: Extra = "error"
    outputs: tuple[Output, ...] | None = None
    binary: bool = False
    answer: AnswerFormat = "json"
    header: bool = True
