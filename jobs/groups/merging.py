"""Merge the results of a part that was trained at some grid points, and then at others.

Shapes: m groups · t trials (of several results; or only the best) · g grid points.
"""

from __future__ import annotations

import io
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from handler.rows.model_card import ModelCard
from jobs.champions.challengers import Challengers
from jobs.champions.choice import why_chosen
from jobs.champions.selection import best_trials, promotable
from jobs.groups.scan.packed import Codes
from jobs.groups.stored import columns_of, from_columns
from jobs.groups.training import PartResult
from jobs.recipe import Policy
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


def merge_pieces(pieces: Sequence[Piece], keys: tuple[bytes, ...], policy: Policy) -> PartResult:
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
    trials = _join_trials(tables, points, name_m, len(keys))
    scores = _Scores.of(trials, len(keys), policy)
    trained = [_best(of_card, name_m, scores) for of_card in by_card.values()]
    return replace(
        first,
        trained=tuple(sorted(trained, key=lambda challengers: name_m.index(challengers.name_m[0]).as_py())),
        unconverged={
            name: reason
            for name, reason in pieces[-1].result.unconverged.items()
            if all(name in piece.result.unconverged for piece in pieces)
        },
        trials=trials_parquet([trials]),
    )


@dataclass(frozen=True)
class _Scores:
    """The scores, gaps and rates of all trials of a part; the score of a trial that may not be promoted is NaN."""

    score_mg: Tensor
    gap_mg: Tensor
    rate_mg: Tensor
    policy: Policy

    @classmethod
    def of(cls, trials: pa.Table, num_points: int, policy: Policy) -> _Scores:
        """Return those of a table that has `num_points` trials of each dataset."""

        def column(name: str) -> Tensor:
            return torch.from_numpy(trials[name].to_numpy().astype(np.float64)).reshape(-1, num_points)

        loss = trials["loss"][0].as_py()
        metric = policy.metric.replace("_loss", "_mse") if loss == "mse" else policy.metric
        statuses = trials["status"].cast(pa.string())
        converged_mg = torch.from_numpy(pc.equal(statuses, "converged").to_numpy()).reshape(-1, num_points)
        allowed_mg = promotable(converged_mg, column("r2"), loss, policy.require)
        score_mg = column(metric).masked_fill(~allowed_mg, torch.nan)
        return cls(score_mg, column("gap"), column("learning_rate"), policy)

    def best_of(self, rank_t: Codes, point_t: Codes) -> Codes:
        """Return which of some trials is the best of its dataset, by `best_trials`; in the order of datasets."""
        candidate_mg = torch.full_like(self.score_mg, torch.nan)
        candidate_mg[rank_t, point_t] = self.score_mg[rank_t, point_t]
        best_m = best_trials(candidate_mg, self.gap_mg, self.rate_mg, self.policy.mode).numpy()
        found = np.flatnonzero(best_m[rank_t] == point_t)
        first = np.unique(rank_t[found], return_index=True)[1]
        best: Codes = found[first]
        return best

    def why(self, rank_m: Codes, point_m: Tensor) -> list[str]:
        """Return why the trials were chosen."""
        return why_chosen(self.score_mg[rank_m], self.gap_mg[rank_m], self.rate_mg[rank_m], point_m, self.policy)


def _best(pieces: Sequence[tuple[Challengers, Codes]], name_m: pa.Array, scores: _Scores) -> Challengers:
    """Return the best model of each group of a card, by the rule of `best_trials`."""
    results = [challengers for challengers, _ in pieces]
    columns = [columns_of(challengers) for challengers in results]
    joined = {name: torch.cat([each[name] for each in columns]) for name in columns[0]}
    point_t = np.concatenate([point_g[challengers.point_m.numpy()] for challengers, point_g in pieces])
    joined["point_m"] = torch.from_numpy(point_t)
    trials = pa.concat_tables([challengers.trials for challengers in results]).unify_dictionaries()
    rank_t = _ranks(trials["dataset"], name_m)
    best_m = scores.best_of(rank_t, point_t)
    index = torch.from_numpy(best_m)
    best = {name: tensor[index] for name, tensor in joined.items()}
    choice = pa.array(scores.why(rank_t[best_m], best["point_m"]), pa.string())
    rows = trials.take(best_m).drop_columns(["choice"]).append_column("choice", choice)
    return from_columns(results[0].stack.card, rows, best)


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
