"""Merge the results of a part that was trained at some grid points, and then at others.

Shapes: m groups · t trials (of several results; or only the best) · g grid points.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from handler.model_card import ModelCard
from jobs.champions.challengers import Challengers
from jobs.groups.scan.packed import Codes
from jobs.groups.stored import columns_of, from_columns
from jobs.groups.training import PartResult
from jobs.recipe import Mode
from jobs.trials.table import trials_parquet

UNWANTED = -1


@dataclass(frozen=True)
class Piece:
    """The result of a part at some grid points, with their keys in the order of training."""

    keys: tuple[bytes, ...]
    result: PartResult


def is_usable(piece: Piece, wanted: Set[bytes]) -> bool:
    """Return whether the models of a piece are the best of the wanted grid points; others have no weights."""
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
    """Return the best model of each group of a card, by the rule of `best_trials`."""
    results = [challengers for challengers, _ in pieces]
    columns = [columns_of(challengers) for challengers in results]
    joined = _joined(columns)
    point_t = np.concatenate([point_g[challengers.point_m.numpy()] for challengers, point_g in pieces])
    joined["point_m"] = torch.from_numpy(point_t)
    trials = pa.concat_tables([challengers.trials for challengers in results]).unify_dictionaries()
    rank_t, score_t = _ranks(trials["dataset"], name_m), joined["score_m"].numpy()
    order_t = np.lexsort((point_t, trials["learning_rate"].to_numpy(), score_t if mode == "min" else -score_t, rank_t))
    best_m = order_t[np.unique(rank_t[order_t], return_index=True)[1]]
    index = torch.from_numpy(best_m)
    return from_columns(results[0].stack.card, trials.take(best_m), {n: t[index] for n, t in joined.items()})


def _joined(columns: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the columns of all results; where one lacks a column, its numbers are not known, or 0 beside moments."""
    known = {name: tensor for each in columns for name, tensor in each.items()}
    return {
        name: torch.cat([each.get(name, _absent(name, like, len(each["weight"]))) for each in columns])
        for name, like in known.items()
    }


def _absent(name: str, like: Tensor, number: int) -> Tensor:
    return like.new_full((number, *like.shape[1:]), torch.nan if name.startswith("statistics.") else 0.0)


def _join_trials(tables: Sequence[pa.Table], points: Sequence[Codes], name_m: pa.Array, num_points: int) -> pa.Table:
    """Return the trials of all tables at the wanted grid points, each once, in the order of one training."""
    rank_t = np.concatenate([_ranks(table["dataset"].cast(pa.string()), name_m) for table in tables])
    # The trials of a dataset are together, in the order of the grid.
    point_t = np.concatenate([np.resize(point_g, len(table)) for table, point_g in zip(tables, points, strict=True)])
    wanted_t = np.flatnonzero(point_t != UNWANTED)
    _, first = np.unique(rank_t[wanted_t] * num_points + point_t[wanted_t], return_index=True)
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries().take(pa.array(wanted_t[first]))


def _ranks(names: pa.Array | pa.ChunkedArray, name_m: pa.Array) -> Codes:
    ranks: Codes = pc.index_in(names, name_m).to_numpy().astype(np.int64)
    return ranks
