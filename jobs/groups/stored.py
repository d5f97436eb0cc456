"""A trained part of a source as bytes, and back. No pickle: numbers are safetensors, the rest is JSON in its header."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from handler.model_card import ModelCard
from handler.stack import Stack, Statistics
from jobs.champions.challengers import Challengers
from jobs.engines.moments import Moments
from jobs.groups.training import PartResult
from jobs.trials.table import REPEATED, table_parquet
from model_store.errors import CorruptObjectError
from model_store.ledger.checkpoint_arrays import metadata_of

FORMAT = 3
HEADER = "gridline"


def part_bytes(result: PartResult) -> bytes:
    """Return a part as bytes; equal parts give equal bytes."""
    tensors: dict[str, Tensor] = {}
    header: dict[str, Any] = {
        "format": FORMAT,
        "failures": result.failures,
        "unconverged": result.unconverged,
        "cards": [_write(challengers, f"{number}.", tensors) for number, challengers in enumerate(result.trained)],
    }
    for name in ("trials", "datasets"):
        data = getattr(result, name)
        if data is not None:
            tensors[name] = _tensor(data)
    plain = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return save(plain, metadata={HEADER: json.dumps(header, sort_keys=True)})


def _write(challengers: Challengers, prefix: str, tensors: dict[str, Tensor]) -> str:
    """Add the columns of challengers to the tensors, and return their model card."""
    stack = challengers.stack
    columns = {
        "weight": stack.weight_md,
        "bias": stack.bias_m,
        "point_m": challengers.point_m,
        "score_m": challengers.score_m,
        "trials": _tensor(table_parquet([challengers.trials], REPEATED)),
    }
    for part, value in (
        ("statistics", stack.statistics),
        ("train_moments", challengers.train_moments),
        ("score_moments", challengers.score_moments),
    ):
        if value is not None:
            columns |= {f"{part}.{field.name}": getattr(value, field.name) for field in fields(value)}
    tensors |= {f"{prefix}{name}": tensor for name, tensor in columns.items() if tensor is not None}
    return stack.card.to_json()


def part_of_bytes(data: bytes, name: str) -> PartResult:
    """Return the part that `part_bytes` wrote. Raises CorruptObjectError if it is not one."""
    try:
        tensors = load(data)
        header = json.loads(metadata_of(data)[HEADER])
        return PartResult(
            trained=tuple(_read(card, f"{number}.", tensors) for number, card in enumerate(header["cards"])),
            failures=header["failures"],
            unconverged=header["unconverged"],
            trials=_bytes(tensors.get("trials")),
            datasets=_bytes(tensors.get("datasets")),
        )
    except (SafetensorError, pa.ArrowException, OSError, KeyError, TypeError, ValueError) as exc:
        raise CorruptObjectError(name, f"it is not a part of a fleet: {' '.join(str(exc).split())}") from exc


def _tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _bytes(tensor: Tensor | None) -> bytes | None:
    return None if tensor is None else tensor.numpy().tobytes()


def _read(card: str, prefix: str, tensors: dict[str, Tensor]) -> Challengers:
    def part(kind: type, name: str) -> Any:
        values = {field.name: tensors.get(f"{prefix}{name}.{field.name}") for field in fields(kind)}
        return kind(**values)

    statistics = part(Statistics, "statistics")
    return Challengers(
        stack=Stack(ModelCard.from_json(card), tensors[f"{prefix}weight"], tensors.get(f"{prefix}bias"), statistics),
        trials=pq.read_table(pa.BufferReader(tensors[f"{prefix}trials"].numpy().tobytes())),
        point_m=tensors[f"{prefix}point_m"],
        score_m=tensors[f"{prefix}score_m"],
        train_moments=part(Moments, "train_moments"),
        score_moments=part(Moments, "score_moments"),
    )
