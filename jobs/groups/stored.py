"""A trained part of a source as bytes, and back: safetensors with JSON metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from handler.models.stack import Stack, StatisticsOf
from handler.rows.model_card import ModelCard
from jobs.champions.challengers import Challengers
from jobs.engines.moments import Moments
from jobs.groups.training import PartResult
from jobs.trials.table import REPEATED, table_parquet
from model_store.errors import CorruptObjectError
from model_store.ledger.checkpoint_arrays import metadata_of

FORMAT = 6
HEADER = "gridline"


RECORDS: dict[str, type] = {"statistics": StatisticsOf, "train_moments": Moments, "score_moments": Moments}


def columns_of(challengers: Challengers) -> dict[str, Tensor]:
    """Return the tensors of challengers by name: `weight`, `point_m`, `train_moments.mean_md`, …"""
    stack = challengers.stack
    values = (stack.statistics, challengers.train_moments, challengers.score_moments)
    columns = {
        "weight": stack.weight_md,
        "bias": stack.bias_m,
        "point_m": challengers.point_m,
        "score_m": challengers.score_m,
    }
    for (prefix, kind), value in zip(RECORDS.items(), values, strict=True):
        columns |= {f"{prefix}.{field.name}": getattr(value, field.name) for field in fields(kind)}
    return {name: tensor for name, tensor in columns.items() if tensor is not None}


def from_columns(card: ModelCard, trials: pa.Table, columns: Mapping[str, Tensor]) -> Challengers:
    """Return the challengers with these columns. Raises KeyError if one is missing."""
    records = {
        prefix: kind(**{field.name: columns.get(f"{prefix}.{field.name}") for field in fields(kind)})
        for prefix, kind in RECORDS.items()
    }
    stack = Stack(card, columns["weight"], columns.get("bias"), records.pop("statistics"))
    return Challengers(stack, trials, columns["point_m"], columns["score_m"], **records)


def part_bytes(result: PartResult) -> bytes:
    """Return a part as bytes; equal parts give equal bytes."""
    tensors = {} if result.trials is None else {"trials": _tensor(result.trials)}
    for number, challengers in enumerate(result.trained):
        columns = columns_of(challengers) | {"trials": _tensor(table_parquet([challengers.trials], REPEATED))}
        tensors |= {f"{number}.{name}": tensor for name, tensor in columns.items()}
    header = {
        "format": FORMAT,
        "failures": result.failures,
        "unconverged": result.unconverged,
        "notes": result.notes,
        "left_out": result.left_out,
        "cards": [challengers.stack.card.to_json() for challengers in result.trained],
    }
    plain = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return save(plain, metadata={HEADER: json.dumps(header, sort_keys=True)})


def part_of_bytes(data: bytes, name: str) -> PartResult:
    """Return the part that `part_bytes` wrote. Raises CorruptObjectError if it is not one."""
    try:
        tensors = load(data)
        header = json.loads(metadata_of(data)[HEADER])
        return PartResult(
            trained=tuple(_read(card, f"{number}.", tensors) for number, card in enumerate(header["cards"])),
            failures=header["failures"],
            unconverged=header["unconverged"],
            notes={name: tuple(of_group) for name, of_group in header["notes"].items()},
            trials=tensors["trials"].numpy().tobytes() if "trials" in tensors else None,
            left_out=header.get("left_out", {}),  # a part of an earlier gridline has none
        )
    except (SafetensorError, pa.ArrowException, OSError, KeyError, TypeError, ValueError) as exc:
        raise CorruptObjectError(name, f"it is not a part of a source: {' '.join(str(exc).split())}") from exc


def _tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _read(card: str, prefix: str, tensors: Mapping[str, Tensor]) -> Challengers:
    columns = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    trials = pq.read_table(pa.BufferReader(columns["trials"].numpy()))
    return from_columns(ModelCard.from_json(card), trials, columns)
