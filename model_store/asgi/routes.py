"""The addresses of the inference port: those of TorchServe that docs/serving.md lists, and those of Open Inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from handler.description.openapi import OPENAPI

NUM_KEPT = 256  # of the routes asked last: a client asks the same address again and again
Kind = Literal["endpoint", "ping", "live", "ready", "server", "model", "model_ready"]
FORMS = {"predictions": False, "explanations": True}  # whether the answers are explained
VERBS = {":predict": False, ":explain": True}  # of KServe's first protocol
ACTIONS = {"infer": False, "explain": True}  # of Open Inference
OF_SERVER: dict[tuple[str, ...], Kind] = {
    ("ping",): "ping",
    ("v2",): "server",
    ("v2", "health", "live"): "live",
    ("v2", "health", "ready"): "ready",
}


@dataclass(frozen=True)
class Route:
    """What an address asks: of a version (None: the default one), about a dataset, if it names one."""

    kind: Kind
    collection: str = ""
    version: str | None = None
    dataset: str | None = None
    explain: bool = False


@lru_cache(NUM_KEPT)
def route_of(path: str) -> Route | None:
    """Return what a path asks, whose percent signs are decoded; None if there is no such address."""
    parts = path.rstrip("/").split("/")[1:]
    if tuple(parts) in OF_SERVER:
        return Route(OF_SERVER[tuple(parts)])
    if len(parts) < 2 or not parts[1]:
        return Route("endpoint") if parts == ["invocations"] else None
    first, *rest = parts
    if first in FORMS:
        return _of_form(rest, FORMS[first])
    if first == "models" and rest[1:] == ["invoke"]:
        return Route("endpoint", rest[0])
    if first in ("v1", "v2") and rest[0] == "models" and len(rest) > 1:
        return _of_first_protocol(rest[1:]) if first == "v1" else _of_open_inference(rest[1:])
    return None


def _of_form(parts: Sequence[str], explain: bool) -> Route:
    """Return the route of <collection>[/<version>[/<dataset>]]; the name of a dataset may have slashes."""
    collection, *rest = parts
    if rest == [OPENAPI]:
        return Route("endpoint", collection, None, OPENAPI)
    version = rest[0] if rest else None
    return Route("endpoint", collection, version, "/".join(rest[1:]) or None, explain)


def _of_first_protocol(parts: Sequence[str]) -> Route | None:
    """Return the route of <collection>:predict, or of <collection> alone, which tells whether it is ready."""
    if len(parts) != 1:
        return None
    if ":" not in parts[0]:
        return Route("model_ready", parts[0])
    collection, colon, verb = parts[0].rpartition(":")
    return Route("endpoint", collection, explain=VERBS[colon + verb]) if colon + verb in VERBS and collection else None


def _of_open_inference(parts: Sequence[str]) -> Route | None:
    """Return the route of <collection>[/versions/<version>][/infer | /ready]."""
    collection, *rest = parts
    version = None
    if len(rest) >= 2 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    if not rest:
        return Route("model", collection, version)
    if rest == ["ready"]:
        return Route("model_ready", collection, version)
    if len(rest) == 1 and rest[0] in ACTIONS:
        return Route("endpoint", collection, version, explain=ACTIONS[rest[0]])
    return None
