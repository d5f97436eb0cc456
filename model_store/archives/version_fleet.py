"""Make the fleet of a version: join the models of its checkpoints into one stack for each model card.

Shapes: n rows of the champion table · m models of a stack · d encoded columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from handler.models.fleet import FactTable, Fleet, TextColumn
from handler.models.stack import STATISTICS, Stack, Statistics
from handler.models.text_table import NameIndex, TextTable
from model_store.errors import CorruptObjectError
from model_store.ledger.champion_columns import row_blobs
from model_store.ledger.checkpoints import read_stack
from model_store.ledger.versions import Version
from model_store.objects.blobs import BlobRef, read_blobs

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS = ("epoch", "score", "train_mse", "val_mse", "r2", "num_rows")
TEXTS = ("run_id", "trained_at", "engine", "status", "hyperparameters", "metric", "mode", "fingerprint")
BLOBS = ("checkpoint", "checkpoint_size", "statistics", "statistics_size")

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


def fleet_of_version(version: Version, datasets: Sequence[str] | None = None) -> Fleet:
    """Return the fleet of a version, or of some of its datasets, after verifying every blob.

    Raises UnknownDatasetError, MissingObjectError, and CorruptObjectError for a blob that does not match the version.
    """
    version.require_models()
    table = _rows(version, datasets)
    blob_n, refs = _blobs(table)
    checkpoints = _read(version, refs)
    row_n = table["row"].to_numpy().astype(np.int64)
    _check_rows(refs, checkpoints, blob_n, row_n)
    cards = sorted({stack.card.to_json() for stack in checkpoints})
    stack_of_blob = np.array([cards.index(stack.card.to_json()) for stack in checkpoints])
    stack_n = stack_of_blob[blob_n].astype(np.int32)
    served_row_n = np.zeros(len(row_n), np.int32)
    stacks = []
    for number in range(len(cards)):
        mine = np.flatnonzero(stack_n == number)
        stacks.append(_joined(checkpoints, blob_n[mine], row_n[mine]).arrays())
        served_row_n[mine] = np.arange(len(mine), dtype=np.int32)
    index = NameIndex.of(table["dataset"].to_pylist())
    return Fleet(
        version.collection,
        version.number,
        index,
        stack_n,
        served_row_n,
        tuple(stacks),
        _facts(table),
        version.created_at,
    )


def _rows(version: Version, datasets: Sequence[str] | None) -> pa.Table:
    """Return the rows of the champion table for these datasets, or all, sorted by name."""
    from model_store.ledger.champion_table import rows_to_table

    if datasets is None:
        return version.table()
    return rows_to_table([version.find(dataset) for dataset in sorted(set(datasets))])


def _blobs(table: pa.Table) -> tuple[Ints, list[tuple[BlobRef, ...]]]:
    """Return the number of each dataset's checkpoint, and the blobs of each checkpoint with its statistics."""
    pairs: dict[tuple[object, ...], int] = {}
    columns = [table[name].to_pylist() for name in BLOBS]
    blob_n = np.array([pairs.setdefault(pair, len(pairs)) for pair in zip(*columns, strict=True)], np.int64)
    return blob_n, [tuple(row_blobs(dict(zip(BLOBS, pair, strict=True)))) for pair in pairs]


def _read(version: Version, refs: Sequence[tuple[BlobRef, ...]]) -> list[Stack]:
    data = iter(read_blobs(version.objects, [ref for blobs in refs for ref in blobs]))
    return [
        read_stack(next(data), next(data) if statistics else None, name=f"checkpoint {checkpoint.sha256}")
        for checkpoint, *statistics in refs
    ]


def _check_rows(refs: Sequence[tuple[BlobRef, ...]], stacks: Sequence[Stack], blob_n: Ints, row_n: Ints) -> None:
    size_n = np.array([len(stack.weight_md) for stack in stacks], np.int64)[blob_n]
    wrong = np.flatnonzero((row_n < 0) | (row_n >= size_n))
    if len(wrong):
        at = int(wrong[0])
        raise CorruptObjectError(
            f"checkpoint {refs[int(blob_n[at])][0].sha256}", f"row {row_n[at]} was asked of it, and it has {size_n[at]}"
        )


def _joined(checkpoints: Sequence[Stack], blob_m: Ints, row_m: Ints) -> Stack:
    """Return one stack of the models in the rows `row_m` of the checkpoints `blob_m`, which have the same card."""
    used = np.unique(blob_m)
    stacks = [checkpoints[int(number)] for number in used]
    starts = np.cumsum([0, *(len(stack.weight_md) for stack in stacks)])
    position_m = torch.from_numpy(starts[np.searchsorted(used, blob_m)] + row_m)

    def take(tensors: Sequence[Tensor | None]) -> Tensor | None:
        """Return the rows of the joined tensors; NaN for a stack without one, None if no stack has one."""
        present = next((tensor for tensor in tensors if tensor is not None), None)
        if present is None:
            return None
        shape = present.shape[1:]
        filled = [
            torch.full((len(stack.weight_md), *shape), torch.nan, dtype=torch.float64) if tensor is None else tensor
            for stack, tensor in zip(stacks, tensors, strict=True)
        ]
        return torch.cat(filled)[position_m]

    weight_md = take([stack.weight_md for stack in stacks])
    assert weight_md is not None  # noqa: S101 - every checkpoint has weights
    return Stack(stacks[0].card, weight_md, take([stack.bias_m for stack in stacks]), _statistics(stacks, take))


def _statistics(stacks: Sequence[Stack], take: Any) -> Statistics | None:
    """Return the statistics of the joined models, or None if no stack has any."""
    statistics = [stack.statistics for stack in stacks]
    if not any(statistics):
        return None
    fields: dict[str, Any] = {
        name: take([None if one is None else getattr(one, name) for one in statistics]) for name in STATISTICS.values()
    }
    return Statistics(**fields)


def _facts(table: pa.Table) -> FactTable:
    import pyarrow as pa

    numbers = {
        name: table[name].cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64) for name in NUMBERS
    }
    return FactTable(numbers, {name: _text_column(table[name]) for name in TEXTS})


def _text_column(column: pa.ChunkedArray) -> TextColumn:
    """Return the column with each distinct text stored once."""
    import pyarrow as pa

    coded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return TextColumn(codes, TextTable.of(coded.dictionary.to_pylist()))
