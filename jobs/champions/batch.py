"""Challengers that are offered together: compare them with the champions, column by column, and store them.

Shapes: m datasets · t trials (of some datasets).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from jobs.champions.challengers import Challengers
from jobs.champions.comparison import (
    AGAIN,
    FIRST,
    ITSELF,
    LOST,
    NEITHER,
    OF_THE_LOSS,
    SAME,
    Before,
    Comparisons,
    Floats,
    recorded_loss,
)
from jobs.champions.rescoring import IncomparableError, Scoring
from jobs.engines.losses import loss_text
from jobs.recipe import Policy
from jobs.sources.dataset import Dataset
from jobs.sources.resolved import ResolvedSource
from model_store.errors import CorruptObjectError, MissingObjectError, NewerFormatError
from model_store.ledger.champion_columns import CHECKPOINT_EXT
from model_store.ledger.champion_table import BLOB_COLUMNS, CHAMPION_SCHEMA
from model_store.ledger.checkpoints import read_stack, write_checkpoint, write_statistics
from model_store.ledger.ledger import Ledger
from model_store.objects.blobs import BlobRef, read_blob, ref_of

IDENTITY = ["dataset", "checkpoint", "row", "fingerprint", "recipe", "hyperparameters", "engine", "loss", "epoch"]

STORED_AGAIN = "it is the champion already; its blob was lost, and is stored again"
GONE = "the blob of the champion is lost or damaged: there is nothing to compare with, or to serve"


@dataclass(frozen=True)
class Batch:
    """Challengers that share a checkpoint; a listed dataset is alone: `dataset` has its rows, `source` its files.

    `recipe` is the digest of the recipe that trained them.
    """

    challengers: Challengers
    policy: Policy
    dataset: Dataset | None = None
    source: ResolvedSource | None = None
    recipe: str | None = None

    def decide(
        self, ledger: Ledger, champions: pa.Table, place_m: pa.Array, lost: Set[BlobRef] = frozenset()
    ) -> Comparisons:
        """Return the comparisons with the champions at `place_m` (null: there is none).

        `lost` are blobs of champions that are not in the store. A champion is stored again if the challenger has the
        same bytes. Else nothing can be compared with it, or served: the challenger is promoted.
        """
        score_m = self.challengers.score_m.numpy()
        if place_m.null_count == len(place_m):
            basis_m = np.full(len(score_m), FIRST, dtype=np.int8)
            return Comparisons(self.policy, score_m, np.full(len(score_m), np.nan), basis_m)
        champions = champions.take(place_m)  # a row of nulls where there is none
        again = self.store(ledger) & lost if lost and _names_any(champions, lost).any() else frozenset[BlobRef]()
        champion_m = champions["score"].to_numpy().astype(np.float64)
        same_metric_m = _equal(champions["metric"], self.policy.metric) & ~np.isnan(champion_m)
        if self.policy.metric in OF_THE_LOSS:
            recorded = [recorded_loss(champion) for champion in champions.select(["loss", "engine"]).to_pylist()]
            same_metric_m &= _equal(pa.array(recorded, pa.string()), self._losses())
        recorded_m = np.where(same_metric_m, champion_m, np.nan)
        same_rows_m = _equal(champions["fingerprint"], self.challengers.column("fingerprint"))
        champion_m[~(same_metric_m & same_rows_m)] = np.nan
        itself_m = same_rows_m & self._same_models(champions, champion_m)
        champion_m[itself_m] = score_m[itself_m]
        first_m = place_m.is_null().to_numpy(zero_copy_only=False)
        cases = [first_m, _names_any(champions, lost - again), itself_m, same_rows_m & same_metric_m]
        basis_m = np.select(cases, [FIRST, LOST, ITSELF, SAME], NEITHER).astype(np.int8)
        why_not = dict.fromkeys(np.flatnonzero(itself_m & _names_any(champions, again)).tolist(), STORED_AGAIN)
        why_not |= self._score_again(ledger, champions, champion_m, basis_m)
        champion_m[basis_m == LOST] = np.nan
        why_not |= dict.fromkeys(np.flatnonzero(basis_m == LOST).tolist(), GONE)
        before = Before(recorded_m, _equal(champions["status"], "converged"))
        return Comparisons(self.policy, score_m, champion_m, basis_m, why_not, before=before)

    def _same_models(self, champions: pa.Table, champion_m: Floats) -> NDArray[np.bool_]:
        """Return which champions are the challengers' models: by the bytes of a listed one, by how groups were made."""
        if self.dataset is not None:
            checkpoint = ref_of(write_checkpoint(self.challengers.stack), CHECKPOINT_EXT)
            return _equal(champions["checkpoint"], checkpoint.sha256)
        same_m = _equal(champions["hyperparameters"], self.challengers.hyperparameters())
        same_m &= _equal(champions["epoch"], self.challengers.column("epoch"))
        same_m &= champion_m == self.challengers.score_m.numpy()
        return same_m

    def _score_again(
        self, ledger: Ledger, champions: pa.Table, champion_m: Floats, basis_m: NDArray[np.int8]
    ) -> dict[int, str]:
        """Score champions of other rows, or by another metric, on the challengers' rows; return why some can't be."""
        again_m, why_not = basis_m == NEITHER, dict[int, str]()
        scoring = Scoring(self.challengers, self.policy.metric, self.dataset, self.source)
        for blob in sorted(champions["checkpoint"].filter(pa.array(again_m)).unique().to_pylist()):
            place_t = np.flatnonzero(again_m & _equal(champions["checkpoint"], blob))
            size = champions["checkpoint_size"][int(place_t[0])].as_py()
            try:
                stack = read_stack(read_blob(ledger.objects, BlobRef(blob, size, CHECKPOINT_EXT)), name=blob)
            except NewerFormatError:
                raise
            except (MissingObjectError, CorruptObjectError):
                basis_m[place_t] = LOST
                continue
            row_t = torch.tensor(champions["row"].take(pa.array(place_t)).to_pylist())
            try:
                basis_m[place_t], champion_m[place_t] = AGAIN, scoring.scores(stack, row_t, torch.from_numpy(place_t))
            except IncomparableError as exc:
                basis_m[place_t], champion_m[place_t] = exc.basis, np.nan
                why_not |= dict.fromkeys(place_t.tolist(), str(exc))
        return why_not

    def _losses(self) -> pa.Array:
        """Return the loss of each, as the champion table has it."""
        loss = self.challengers.trials["loss"][0].as_py()
        return self.challengers.texts(lambda values: loss_text(loss, values))

    def store(self, ledger: Ledger) -> set[BlobRef]:
        """Store the checkpoint and the statistics of the challengers; return their names."""
        return {ref for ref in self._store(ledger) if ref is not None}

    def _store(self, ledger: Ledger) -> tuple[BlobRef, BlobRef | None]:
        checkpoint = ledger.put_blob(write_checkpoint(self.challengers.stack), CHECKPOINT_EXT)
        data = write_statistics(self.challengers.stack)
        return checkpoint, None if data is None else ledger.put_blob(data, CHECKPOINT_EXT)

    def rows(self, ledger: Ledger, comparisons: Comparisons, run_id: str, trained_at: str) -> pa.Table:
        """Store the checkpoint, and return the rows of the promoted for the champion table.

        If another commit, or gc, came in between, it is called again, and stores the blobs again.
        """
        challengers = self.challengers
        checkpoint, statistics = self._store(ledger)
        values: dict[str, Any] = {
            "checkpoint": checkpoint.sha256,
            "checkpoint_size": checkpoint.size_bytes,
            "statistics": statistics.sha256 if statistics else None,
            "statistics_size": statistics.size_bytes if statistics else None,
            "run_id": run_id,
            "trained_at": trained_at,
            "metric": self.policy.metric,
            "mode": self.policy.mode,
            "score": pa.array(challengers.score_m.numpy()),
            "num_rows": pa.array(challengers.train_moments.rows_m.to(torch.int64).numpy()),
            "comparison": comparisons.json(),
        }
        return self._table(values, list(CHAMPION_SCHEMA)).filter(pa.array(comparisons.promoted_m))

    def identities(self) -> pa.Table:
        """Return what tells whether two models are the same, in the columns of the champion table."""
        checkpoint = ref_of(write_checkpoint(self.challengers.stack), CHECKPOINT_EXT)
        return self._table({"checkpoint": checkpoint.sha256}, [CHAMPION_SCHEMA.field(name) for name in IDENTITY])

    def _table(self, values: dict[str, Any], fields: Sequence[pa.Field]) -> pa.Table:
        """Return a table with these fields: from `values`, from what each model was made with, or from its trial."""
        challengers, m = self.challengers, self.challengers.num_datasets
        values = values | {
            "row": pa.array(np.arange(m)),
            "hyperparameters": challengers.hyperparameters(),
            "loss": self._losses(),
            "recipe": self.recipe,
        }
        columns = []
        for field in fields:
            value = values[field.name] if field.name in values else challengers.column(field.name).cast(field.type)
            columns.append(value if isinstance(value, pa.Array) else pa.repeat(pa.scalar(value, field.type), m))
        return pa.table(columns, schema=pa.schema(fields))


def _names_any(champions: pa.Table, refs: Set[BlobRef]) -> NDArray[np.bool_]:
    """Return which champions name one of these blobs."""
    digests = pa.array([ref.sha256 for ref in refs], pa.string())
    named = (pc.is_in(champions[name], value_set=digests) for name in BLOB_COLUMNS[::2])
    found_m: NDArray[np.bool_] = np.any([np.asarray(column, dtype=np.bool_) for column in named], axis=0)
    return found_m


def _equal(column: pa.ChunkedArray | pa.Array, values: object) -> NDArray[np.bool_]:
    """Return which values are equal; null is equal to nothing."""
    return np.asarray(pc.equal(column, values).fill_null(False), dtype=np.bool_)
