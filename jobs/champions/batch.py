"""Challengers that are offered together: compare them with the champions, column by column, and store them.

Shapes: m datasets · t trials (of some datasets) · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from handler.stack import Stack
from jobs.champions.challengers import Challengers, weights
from jobs.champions.comparison import (
    AGAIN,
    FIRST,
    ITSELF,
    OF_THE_LOSS,
    RECORDED,
    SAME,
    Comparisons,
    Floats,
    mean_loss,
    recorded_loss,
)
from jobs.engines.hyperparameters import reads
from jobs.engines.losses import LOSSES, Loss, loss_text
from jobs.engines.moments import mse
from jobs.recipe import Policy
from jobs.sources.dataset import Dataset
from model_store.ledger.champion_columns import CHECKPOINT_EXT
from model_store.ledger.champion_table import CHAMPION_SCHEMA
from model_store.ledger.checkpoints import read_stack, write_checkpoint, write_statistics
from model_store.ledger.ledger import Ledger
from model_store.objects.blobs import BlobRef, read_blob, ref_of


@dataclass(frozen=True)
class Batch:
    """Challengers that share a checkpoint; a listed dataset is alone, and `dataset` has its rows."""

    challengers: Challengers
    policy: Policy
    dataset: Dataset | None = None

    def decide(self, ledger: Ledger, champions: pa.Table, place_m: pa.Array) -> Comparisons:
        """Return the comparisons with the champions at `place_m` (null: there is none)."""
        score_m = self.challengers.score_m.numpy()
        if place_m.null_count == len(place_m):
            basis_m = np.full(len(score_m), FIRST, dtype=np.int8)
            return Comparisons(self.policy, score_m, np.full(len(score_m), np.nan), basis_m)
        champions = champions.take(place_m)  # a row of nulls where there is none
        champion_m = champions["score"].to_numpy().astype(np.float64)
        same_metric_m = _equal(champions["metric"], self.policy.metric) & ~np.isnan(champion_m)
        if self.policy.metric in OF_THE_LOSS:
            recorded = [recorded_loss(champion) for champion in champions.select(["loss", "engine"]).to_pylist()]
            same_metric_m &= _equal(pa.array(recorded, pa.string()), self._losses())
        champion_m[~same_metric_m] = np.nan
        same_rows_m = _equal(champions["fingerprint"], self.challengers.column("fingerprint"))
        itself_m = same_rows_m & self._same_models(champions, champion_m)
        champion_m[itself_m] = score_m[itself_m]
        first_m = place_m.is_null().to_numpy(zero_copy_only=False)
        cases = [first_m, itself_m, same_rows_m & same_metric_m]
        basis_m = np.select(cases, [FIRST, ITSELF, SAME], RECORDED).astype(np.int8)
        self._score_again(ledger, champions, champion_m, basis_m)
        return Comparisons(self.policy, score_m, champion_m, basis_m)

    def _same_models(self, champions: pa.Table, champion_m: Floats) -> NDArray[np.bool_]:
        """Return which champions are the challengers' models: by the bytes of a listed one, by how groups were made."""
        if self.dataset is not None:
            checkpoint = ref_of(write_checkpoint(self.challengers.stack), CHECKPOINT_EXT)
            return _equal(champions["checkpoint"], checkpoint.sha256)
        same_m = _equal(champions["hyperparameters"], self.challengers.hyperparameters())
        same_m &= _equal(champions["epoch"], self.challengers.column("epoch"))
        same_m &= champion_m == self.challengers.score_m.numpy()
        return same_m

    def _score_again(self, ledger: Ledger, champions: pa.Table, champion_m: Floats, basis_m: NDArray[np.int8]) -> None:
        """Score the champions with other rows or another metric on the challengers' rows, if their features match."""
        if self.policy.metric in OF_THE_LOSS and self.dataset is None:
            return
        again_m = basis_m == RECORDED
        for blob in sorted(champions["checkpoint"].filter(pa.array(again_m)).unique().to_pylist()):
            place_t = np.flatnonzero(again_m & _equal(champions["checkpoint"], blob))
            size = champions["checkpoint_size"][int(place_t[0])].as_py()
            stack = read_stack(read_blob(ledger.objects, BlobRef(blob, size, CHECKPOINT_EXT)), name=blob)
            if stack.card == self.challengers.stack.card:
                row_t = torch.tensor(champions["row"].take(pa.array(place_t)).to_pylist())
                champion_m[place_t] = self._scores(stack, row_t, torch.from_numpy(place_t))
                basis_m[place_t] = AGAIN

    def _scores(self, stack: Stack, row_t: torch.Tensor, place_t: torch.Tensor) -> Floats:
        """Return the scores of models on the rows of the challengers at `place_t`."""
        weight_tp, metric = weights(stack, row_t), self.policy.metric
        if self.dataset is not None and metric in OF_THE_LOSS:
            loss = self._loss()
            return np.array([mean_loss(self.dataset, weight_tp[0], loss, validate=metric == "val_loss")])
        challengers = self.challengers
        moments = (challengers.score_moments if metric == "val_mse" else challengers.train_moments).take(place_t)
        error_t = mse(moments, weight_tp[:, None], stack.card.bias)[:, 0]
        if metric == "r2":
            error_t = 1 - error_t * moments.num_rows_m / moments.y_scatter_m
        scores: Floats = error_t.numpy()
        return scores

    def _loss(self) -> Loss:
        """Return the loss of a single challenger."""
        (row,) = self.challengers.trials.to_pylist()
        kind: Callable[..., Loss] = LOSSES[row["loss"]]
        return kind(**{f"{name}_g": torch.tensor([row[name]], dtype=torch.float64) for name in reads(kind)})

    def _losses(self) -> pa.Array:
        """Return the loss of each, as the champion table has it."""
        loss = self.challengers.trials["loss"][0].as_py()
        return self.challengers.texts(lambda values: loss_text(loss, values))

    def rows(self, ledger: Ledger, comparisons: Comparisons, run_id: str, trained_at: str) -> pa.Table:
        """Store the checkpoint, and return the rows of the promoted for the champion table.

        If another commit, or gc, came in between, it is called again, and stores the blobs again.
        """
        challengers, m = self.challengers, self.challengers.num_datasets
        checkpoint = ledger.put_blob(write_checkpoint(challengers.stack), CHECKPOINT_EXT)
        data = write_statistics(challengers.stack)
        statistics = ledger.put_blob(data, CHECKPOINT_EXT) if data is not None else None
        values: dict[str, Any] = {
            "checkpoint": checkpoint.sha256,
            "checkpoint_size": checkpoint.size_bytes,
            "statistics": statistics.sha256 if statistics else None,
            "statistics_size": statistics.size_bytes if statistics else None,
            "row": pa.array(np.arange(m)),
            "run_id": run_id,
            "trained_at": trained_at,
            "hyperparameters": challengers.hyperparameters(),
            "metric": self.policy.metric,
            "mode": self.policy.mode,
            "score": pa.array(challengers.score_m.numpy()),
            "num_rows": pa.array(challengers.train_moments.num_rows_m.to(torch.int64).numpy()),
            "loss": self._losses(),
            "comparison": comparisons.json(),
        }
        columns = []
        for field in CHAMPION_SCHEMA:
            value = values[field.name] if field.name in values else challengers.column(field.name).cast(field.type)
            columns.append(value if isinstance(value, pa.Array) else pa.repeat(pa.scalar(value, field.type), m))
        return pa.table(columns, schema=CHAMPION_SCHEMA).filter(pa.array(comparisons.promoted_m))


def _equal(column: pa.ChunkedArray | pa.Array, values: object) -> NDArray[np.bool_]:
    """Return which values are equal; null is equal to nothing."""
    return np.asarray(pc.equal(column, values).fill_null(False), dtype=np.bool_)
