"""The trials of datasets with their keys, as columns that can be indexed and joined by datasets or grid points.

The functions use the shape suffix of a column's name: `weight_mgp` has datasets on its first axis and grid points on
the second.

Shapes: m datasets · g grid points · e evaluated epochs · d encoded columns · p weights · z bytes of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments
from jobs.engines.trials import BlockResult, EngineName
from jobs.trials.keys import KEY_BYTES

Axis = Literal["m", "g"]
KEY_COLUMN = "key_mgb"  # the name in stored objects
COUNT = "count_m"  # of moments: only rows with weights have it
RESULT = tuple(field.name for field in fields(BlockResult) if field.name not in ("engine", "wall_s"))
GRID = tuple(field.name for field in fields(Hyperparameters))
MOMENTS = tuple(field.name for field in fields(Moments) if "_low_" not in field.name)  # training alone needs these


@dataclass(frozen=True)
class KeyedTrials:
    """The trials of m datasets over grids of one shape; `key_mgz` are their keys, uint8.

    The moments are those of the rows that the weights were trained on, and of the held-out rows.
    """

    key_mgz: Tensor
    hyperparameters: Hyperparameters
    result: BlockResult
    train_moments: Moments
    score_moments: Moments

    @property
    def keys(self) -> list[tuple[bytes, ...]]:
        """The keys of each dataset's trials, in the order of its grid."""
        data = self.key_mgz.contiguous().numpy().tobytes()
        num_datasets, num_points = self.key_mgz.shape[:2]
        flat = [data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES)]
        return [tuple(flat[row * num_points : (row + 1) * num_points]) for row in range(num_datasets)]

    def take(self, axis: Axis, index: Tensor) -> KeyedTrials:
        """Return the datasets, or the grid points, at `index`, in that order."""
        columns = columns_of(self)
        for name, column in columns.items():
            if (dim := _dim(name, axis)) is not None:
                columns[name] = column.index_select(dim, index)
        return from_columns(self.result.engine, columns)


def keys_tensor(keys: Sequence[bytes]) -> Tensor:
    """Return the keys of one dataset's trials as a column, (1, g, z) uint8."""
    return torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).reshape(1, len(keys), KEY_BYTES)


def join(axis: Axis, trials: Sequence[KeyedTrials]) -> KeyedTrials:
    """Return the datasets, or the grid points, of all `trials`, in order; all other axes must be equal."""
    columns = columns_of(trials[0])
    others = [columns_of(each) for each in trials[1:]]
    for name, first in columns.items():
        if (dim := _dim(name, axis)) is not None:
            columns[name] = torch.cat([first, *(other[name] for other in others)], dim)
    return from_columns(trials[0].result.engine, columns)


def columns_of(trials: KeyedTrials) -> dict[str, Tensor]:
    """Return all columns by name: `key_mgb`, `grid.momentum_g`, `result.weight_mgp`, `trained.mean_md`, …"""
    columns = {KEY_COLUMN: trials.key_mgz}
    for prefix, names, values in (
        ("grid", GRID, trials.hyperparameters),
        ("result", RESULT, trials.result),
        ("trained", MOMENTS, trials.train_moments),
        ("scored", MOMENTS, trials.score_moments),
    ):
        columns |= {f"{prefix}.{name}": value for name in names if (value := getattr(values, name)) is not None}
    return columns


def from_columns(engine: EngineName, columns: Mapping[str, Tensor]) -> KeyedTrials:
    """Return the trials from their columns. Raises KeyError if a column is missing."""

    def of(prefix: str, names: tuple[str, ...]) -> dict[str, Tensor]:
        present = [name for name in names if name != COUNT or f"{prefix}.{name}" in columns]
        return {name: columns[f"{prefix}.{name}"] for name in present}

    make_result: Callable[..., BlockResult] = BlockResult  # all fields but these two are columns
    return KeyedTrials(
        key_mgz=columns[KEY_COLUMN],
        hyperparameters=Hyperparameters(**of("grid", GRID)),
        result=make_result(engine=engine, wall_s=0.0, **of("result", RESULT)),
        train_moments=Moments(**of("trained", MOMENTS)),
        score_moments=Moments(**of("scored", MOMENTS)),
    )


def _dim(name: str, axis: Axis) -> int | None:
    shape = name.rpartition("_")[2]
    return shape.index(axis) if axis in shape else None
