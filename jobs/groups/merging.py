"""A part that was trained at some grid points, and then at others, as if it had been trained at all of them at once.

Shapes: t groups of several results, one after the other · g grid points.
"""

from __future__ import annotations

import io
from collections.abc import Sequence, Set
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from handler.model_card import ModelCard
from handler.stack import Stack, Statistics
from jobs.champions.challengers import Challengers
from jobs.engines.moments import Moments
from jobs.groups.scan.packed import Codes
from jobs.groups.training import PartResult
from jobs.recipe import Mode
from jobs.trials.table import trials_parquet

UNWANTED = -1


@dataclass(frozen=True)
class Piece:
    """A part at some grid points: the keys of these, in the order in which it was trained, and what came of it."""

    keys: tuple[bytes, ...]
    result: PartResult


def is_usable(piece: Piece, wanted: Set[bytes]) -> bool:
    """Return whether the models of a piece are the best of its wanted grid points: only the best have their weights."""
    best = {piece.keys[at] for each in piece.result.trained for at in set(each.point_m.tolist())}
    return best <= wanted and not wanted.isdisjoint(piece.keys)


def merge_pieces(pieces: Sequence[Piece], keys: tuple[bytes, ...], mode: Mode) -> PartResult:
    """Return a part at the grid points of `keys`, from usable pieces that together have all of them."""
    first = pieces[0].result
    if first.trials is None or [piece.keys for piece in pieces] == [keys]:
        return first
    at = {key: point for point, key in enumerate(keys)}
    points = [np.array([at.get(key, UNWANTED) for key in piece.keys]) for piece in pieces]
    tables = [pq.read_table(io.BytesIO(piece.result.trials or b"")) for piece in pieces]
    name_m = pc.unique(tables[0]["dataset"].cast(pa.string()))
    by_card: dict[ModelCard, list[tuple[Challengers, Codes]]] = {}
    for piece, point_g in zip(pieces, points, strict=True):
        for challengers in piece.result.trained:
            by_card.setdefault(challengers.stack.card, []).append((challengers, point_g))
    trained = [_best(of_card, name_m, mode) for of_card in by_card.values()]
    return replace(
        first,
        trained=tuple(sorted(trained, key=lambda challengers: name_m.index(challengers.name_m[0]).as_py())),
        unconverged={
            name: reason
            for name, reason in pieces[-1].result.unconverged.items()
            if all(name in piece.result.unconverged for piece in pieces)
        },
        trials=trials_parquet([_join_trials(tables, points, name_m, len(keys))]),
    )


def _best(pieces: Sequence[tuple[Challengers, Codes]], name_m: pa.Array, mode: Mode) -> Challengers:
    """Return each group of a card as the piece has it whose trial is best, by the rule of `best_trials`."""
    results = [challengers for challengers, _ in pieces]
    rank_t = np.concatenate([_ranks(challengers.name_m, name_m) for challengers in results])
    point_t = np.concatenate([point_g[challengers.point_m.numpy()] for challengers, point_g in pieces])
    rate_t = np.concatenate([challengers.column("learning_rate").to_numpy() for challengers in results])
    score_t = torch.cat([challengers.score_m for challengers in results]).numpy()
    order_t = np.lexsort((point_t, rate_t, score_t if mode == "min" else -score_t, rank_t))
    best_m = order_t[np.unique(rank_t[order_t], return_index=True)[1]]
    joined: Challengers = _rows(results, best_m)
    return replace(joined, point_m=torch.from_numpy(point_t[best_m]))


def _rows(values: Sequence[Any], index: Codes) -> Any:
    """Return the rows at `index` of columns that follow one another; of records, those of each of their columns."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(list(values))[torch.from_numpy(index)]
    if isinstance(first, pa.Table):
        return pa.concat_tables(values).unify_dictionaries().take(pa.array(index))
    if isinstance(first, Challengers | Stack | Statistics | Moments):
        return replace(first, **{f.name: _rows([getattr(v, f.name) for v in values], index) for f in fields(first)})
    return first  # what all groups of a card have in common


def _join_trials(tables: Sequence[pa.Table], points: Sequence[Codes], name_m: pa.Array, num_points: int) -> pa.Table:
    """Return the trials of all tables at the wanted grid points, each once, in the order of one training."""
    rank_t = np.concatenate([_ranks(table["dataset"].cast(pa.string()), name_m) for table in tables])
    # The trials of a dataset stand together, in the order of the grid.
    point_t = np.concatenate([np.resize(point_g, len(table)) for table, point_g in zip(tables, points, strict=True)])
    wanted_t = np.flatnonzero(point_t != UNWANTED)
    _, first = np.unique(rank_t[wanted_t] * num_points + point_t[wanted_t], return_index=True)
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries().take(pa.array(wanted_t[first]))


def _ranks(names: pa.Array | pa.ChunkedArray, name_m: pa.Array) -> Codes:
    ranks: Codes = pc.index_in(names, name_m).to_numpy().astype(np.int64)
    return ranks
