"""Trained groups as challengers: how they stand against the champions, column by column, and their rows.

Shapes: m groups · p weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from jobs.champions.comparison import OF_THE_LOSS, recorded_loss
from jobs.champions.selection import Basis, Comparison, compare
from jobs.engines.losses import loss_text
from jobs.engines.moments import mse
from jobs.engines.settings import LossName
from jobs.groups.training import TrainedGroups
from jobs.recipe import Policy
from model_store.ledger.champion_columns import CHECKPOINT_EXT
from model_store.ledger.champion_table import CHAMPION_SCHEMA
from model_store.ledger.checkpoints import read_stack, write_checkpoint, write_statistics
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from model_store.objects.blobs import BlobRef

Floats = NDArray[np.float64]
FIRST, SAME, AGAIN, RECORDED, ITSELF = range(5)
ENCODER = json.JSONEncoder(sort_keys=True)
FIRST_JSON = ENCODER.encode(vars(Comparison(True, "there was no champion", "first", 0.0)))
BASES: tuple[Basis, ...] = ("first", "same rows", "scored again", "as recorded", "same rows")


@dataclass(frozen=True)
class GroupComparisons:
    """How each group stood: its score, the champion's (NaN: there is none), and on what they were compared."""

    policy: Policy
    challenger_m: Floats
    champion_m: Floats
    basis_m: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.challenger_m)

    def __getitem__(self, place: int, /) -> Comparison:
        score, champion = float(self.challenger_m[place]), float(self.champion_m[place])
        basis = int(self.basis_m[place])
        if basis == ITSELF:
            return Comparison(False, "it is the champion already", BASES[basis], score, champion)
        return compare(
            score,
            None if np.isnan(champion) else champion,
            basis=BASES[basis],
            mode=self.policy.mode,
            promote=self.policy.promote,
            min_improvement=self.policy.min_improvement,
        )

    def promoted(self) -> NDArray[np.bool_]:
        """Return which groups are promoted; the rule is that of `compare`."""
        sign = 1.0 if self.policy.mode == "min" else -1.0
        gain_m = sign * (self.champion_m - self.challenger_m)
        better_m = np.isnan(self.champion_m) | (gain_m > self.policy.min_improvement)
        promoted_m: NDArray[np.bool_] = (better_m | (self.policy.promote == "always")) & (self.basis_m != ITSELF)
        return promoted_m

    def json(self) -> pa.Array:
        """Return what the promoted rows say of the comparison; null for the others."""
        texts = [self._json(place) if promoted else None for place, promoted in enumerate(self.promoted().tolist())]
        return pa.array(texts, pa.string())

    def _json(self, place: int) -> str:
        comparison = self[place]
        if comparison.basis != "first":
            return ENCODER.encode(vars(comparison))
        # A new collection may have a million of these; json takes ten times as long to write the same.
        first, _, rest = FIRST_JSON.partition("0.0")
        return f"{first}{comparison.challenger_score!r}{rest}"


@dataclass(frozen=True)
class GroupBatch:
    """Groups of a fleet that share a checkpoint blob, offered together."""

    ledger: Ledger
    groups: TrainedGroups
    policy: Policy
    run_id: str
    trained_at: str
    loss: LossName = "mse"

    def decide(self, head: Version | None, champions: pa.Table) -> GroupComparisons:
        """Return how the groups stand against the champions of their names."""
        groups = self.groups
        champion_m = np.full(groups.num_groups, np.nan)
        basis_m = np.full(groups.num_groups, FIRST, dtype=np.int8)
        place_m = pc.index_in(groups.name_m.cast(pa.string()), value_set=champions["dataset"].combine_chunks())
        known = np.flatnonzero(place_m.is_valid().to_numpy(zero_copy_only=False))
        if len(known):
            standing = champions.take(place_m.drop_null())
            champion_m[known], basis_m[known] = self._standing(standing, known)
        return GroupComparisons(self.policy, groups.score_m.numpy(), champion_m, basis_m)

    def _standing(self, standing: pa.Table, known: NDArray[np.intp]) -> tuple[Floats, NDArray[np.int8]]:
        """Return the champions' scores on the rows of the groups at `known`, and how they were had."""
        scores = standing["score"].to_numpy().astype(np.float64)
        fingerprints = np.array(self.groups.fingerprint_m, dtype=object)[known]
        same_metric = standing["metric"].to_numpy(zero_copy_only=False) == self.policy.metric
        if self.policy.metric in OF_THE_LOSS:
            recorded = [recorded_loss(champion) for champion in standing.select(["loss", "engine"]).to_pylist()]
            same_metric &= np.array(recorded, dtype=object) == np.array(self._losses(), dtype=object)[known]
        same_rows = (standing["fingerprint"].to_numpy(zero_copy_only=False) == fingerprints) & same_metric
        basis = np.where(same_rows, SAME, RECORDED).astype(np.int8)
        hyper = np.array(self._hyperparameters(), dtype=object)[known]
        alike = standing["hyperparameters"].to_numpy(zero_copy_only=False) == hyper
        alike &= standing["epoch"].to_numpy() == self.groups.epoch_m.numpy()[known]
        basis[same_rows & alike & (scores == self.groups.score_m.numpy()[known])] = ITSELF
        scores[~same_metric] = np.nan
        self._score_again(standing, known, np.flatnonzero(~same_rows), scores, basis)
        return scores, basis

    def _score_again(
        self,
        standing: pa.Table,
        known: NDArray[np.intp],
        places: NDArray[np.intp],
        scores: Floats,
        basis: NDArray[np.int8],
    ) -> None:
        """Score the champions at `places` on the groups' rows, where their features are the same."""
        if self.policy.metric not in ("train_mse", "val_mse", "r2") or not len(places):
            return
        rows = self.groups.scored if self.policy.metric == "val_mse" else self.groups.trained
        blobs = standing["checkpoint"].take(pa.array(places)).to_pylist()
        for blob in sorted(set(blobs)):
            here = places[[at for at, name in enumerate(blobs) if name == blob]]
            size = standing["checkpoint_size"][int(here[0])].as_py()
            stack = read_stack(self.ledger.read_blob(BlobRef(blob, size, CHECKPOINT_EXT)), None, blob)
            if stack.card != self.groups.stack.card:
                continue
            row_t = torch.from_numpy(standing["row"].to_numpy()[here].copy())
            weight_tp = stack.weight_md[row_t]
            if stack.bias_m is not None:
                weight_tp = torch.cat([weight_tp, stack.bias_m[row_t, None]], dim=1)
            moments = rows.take(torch.from_numpy(known[here].copy()))
            error_t = mse(moments, weight_tp[:, None], stack.card.bias)[:, 0]
            if self.policy.metric == "r2":
                error_t = 1 - error_t * moments.num_rows_m / moments.y_scatter_m
            scores[here], basis[here] = error_t.numpy(), AGAIN

    def _hyperparameters(self) -> list[str]:
        """Return each group's hyperparameters as JSON; equal ones are written once."""
        groups, written = self.groups, {}
        hyper = groups.hyperparameters
        texts = []
        for point, rate in zip(groups.point_m.tolist(), groups.learning_rate_m.tolist(), strict=True):
            if (point, rate) not in written:
                values = {
                    "learning_rate": rate,
                    "momentum": hyper.momentum_g[point].item(),
                    "nesterov": bool(hyper.nesterov_g[point].item()),
                    "weight_decay": hyper.weight_decay_g[point].item(),
                    "huber_delta": hyper.huber_delta_g[point].item(),
                    "quantile": hyper.quantile_g[point].item(),
                }
                written[point, rate] = json.dumps(values, sort_keys=True)
            texts.append(written[point, rate])
        return texts

    def _losses(self) -> list[str]:
        """Return each group's loss, as the champion table has it."""
        hyper = self.groups.hyperparameters
        of_point_g = [loss_text(self.loss, hyper.values(0, point)) for point in range(hyper.num_points)]
        return [of_point_g[point] for point in self.groups.point_m.tolist()]

    def rows(self, promoted_m: NDArray[np.bool_]) -> pa.Table:
        """Store the groups' blobs, and return the rows of the promoted for the champion table."""
        return self._store().filter(pa.array(promoted_m))

    def _store(self) -> pa.Table:
        groups, m = self.groups, self.groups.num_groups
        checkpoint = self.ledger.put_blob(write_checkpoint(groups.stack), CHECKPOINT_EXT)
        beside = write_statistics(groups.stack)
        known = self.ledger.put_blob(beside, CHECKPOINT_EXT) if beside is not None else None

        def same(value: object, kind: pa.DataType) -> pa.Array:
            return pa.repeat(pa.scalar(value, kind), m)

        def numbers(values: torch.Tensor) -> pa.Array:
            return pa.array(values.numpy(), mask=~np.isfinite(values.numpy()))

        columns = {
            "dataset": groups.name_m.cast(pa.string()),
            "checkpoint": same(checkpoint.sha256, pa.string()),
            "checkpoint_size": same(checkpoint.size_bytes, pa.int64()),
            "statistics": same(known.sha256 if known else None, pa.string()),
            "statistics_size": same(known.size_bytes if known else None, pa.int64()),
            "row": pa.array(np.arange(m)),
            "run_id": same(self.run_id, pa.string()),
            "trained_at": same(self.trained_at, pa.string()),
            "engine": same(groups.engine, pa.string()),
            "status": pa.array(groups.status_m, pa.string()),
            "epoch": pa.array(groups.epoch_m.numpy()),
            "hyperparameters": pa.array(self._hyperparameters(), pa.string()),
            "metric": same(self.policy.metric, pa.string()),
            "mode": same(self.policy.mode, pa.string()),
            "score": pa.array(groups.score_m.numpy()),
            "train_mse": numbers(groups.train_mse_m),
            "val_mse": numbers(groups.val_mse_m),
            "r2": numbers(groups.r2_m),
            "num_rows": pa.array(groups.trained.num_rows_m.to(torch.int64).numpy()),
            "fingerprint": pa.array(groups.fingerprint_m, pa.string()),
            "loss": pa.array(self._losses(), pa.string()),
            "comparison": same(None, pa.string()),
        }
        return pa.table([columns[name] for name in CHAMPION_SCHEMA.names], schema=CHAMPION_SCHEMA)
