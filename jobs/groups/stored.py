"""A trained part of a source as bytes, and back. No pickle: numbers are safetensors, the rest is JSON in its header."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from handler.model_card import ModelCard
from handler.stack import Stack, Statistics
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments
from jobs.groups.training import PartResult, TrainedGroups
from model_store.errors import CorruptObjectError
from model_store.ledger.checkpoint_layout import metadata_of

FORMAT = 2
PER_GROUP = ("point_m", "learning_rate_m", "score_m", "epoch_m", "train_mse_m", "val_mse_m", "r2_m")
HEADER = "gridline"


def part_bytes(result: PartResult) -> bytes:
    """Return a part as bytes; equal parts give equal bytes."""
    tensors: dict[str, Tensor] = {}
    header: dict[str, Any] = {
        "format": FORMAT,
        "failures": result.failures,
        "unconverged": result.unconverged,
        "groups": [_write(groups, f"{number}.", tensors) for number, groups in enumerate(result.trained)],
    }
    for name in ("trials", "datasets"):
        data = getattr(result, name)
        if data is not None:
            tensors[name] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    plain = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return save(plain, metadata={HEADER: json.dumps(header, sort_keys=True)})


def _write(groups: TrainedGroups, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    tensors[f"{prefix}weight"] = groups.stack.weight_md
    if groups.stack.bias_m is not None:
        tensors[f"{prefix}bias"] = groups.stack.bias_m
    for name in PER_GROUP:
        tensors[f"{prefix}{name}"] = getattr(groups, name)
    for part, value in _parts(groups).items():
        for field in fields(value):
            tensor = getattr(value, field.name)
            if tensor is not None:
                tensors[f"{prefix}{part}.{field.name}"] = tensor
    return {
        "card": groups.stack.card.to_json(),
        "names": groups.name_m.to_pylist(),
        "fingerprints": list(groups.fingerprint_m),
        "statuses": list(groups.status_m),
        "engine": groups.engine,
    }


def _parts(groups: TrainedGroups) -> dict[str, Any]:
    return {
        "statistics": groups.stack.statistics,
        "trained": groups.trained,
        "scored": groups.scored,
        "hyperparameters": groups.hyperparameters,
    }


def part_of_bytes(data: bytes, name: str) -> PartResult:
    """Return the part that `part_bytes` wrote. Raises CorruptObjectError if it is not one."""
    try:
        tensors = load(data)
        header = json.loads(metadata_of(data)[HEADER])
        return PartResult(
            trained=tuple(_read(g, f"{number}.", tensors) for number, g in enumerate(header["groups"])),
            failures=header["failures"],
            unconverged=header["unconverged"],
            trials=_bytes(tensors.get("trials")),
            datasets=_bytes(tensors.get("datasets")),
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as exc:
        raise CorruptObjectError(name, f"it is not a part of a fleet: {' '.join(str(exc).split())}") from exc


def _bytes(tensor: Tensor | None) -> bytes | None:
    return None if tensor is None else tensor.numpy().tobytes()


def _read(header: dict[str, Any], prefix: str, tensors: dict[str, Tensor]) -> TrainedGroups:
    def part(kind: type, name: str) -> Any:
        values = {field.name: tensors.get(f"{prefix}{name}.{field.name}") for field in fields(kind)}
        return kind(**values)

    card = ModelCard.from_json(header["card"])
    stack = Stack(card, tensors[f"{prefix}weight"], tensors.get(f"{prefix}bias"), part(Statistics, "statistics"))
    return TrainedGroups(
        stack=stack,
        name_m=pa.array(header["names"], pa.large_string()),
        status_m=header["statuses"],
        fingerprint_m=header["fingerprints"],
        trained=part(Moments, "trained"),
        scored=part(Moments, "scored"),
        hyperparameters=part(Hyperparameters, "hyperparameters"),
        engine=header["engine"],
        **{name: tensors[f"{prefix}{name}"] for name in PER_GROUP},
    )
