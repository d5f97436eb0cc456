"""From trials to a commit: the best trial of each dataset is offered to the ledger, which keeps the better model.

Shapes: m = 1 dataset · d encoded columns · p weights (d, and the bias last where there is one).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handler.stack import Stack
from jobs.champions.challenger import Challenger
from jobs.champions.commit import commit_better
from jobs.champions.comparison import against
from jobs.champions.selection import Comparison
from jobs.engines.losses import loss_text
from model_store.ledger.champion_columns import CHECKPOINT_EXT
from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.checkpoints import write_checkpoint, write_statistics
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from model_store.objects.blobs import ref_of


@dataclass(frozen=True)
class ComparisonList:
    """The comparisons of a batch held in memory."""

    comparisons: tuple[Comparison, ...]

    def __len__(self) -> int:
        return len(self.comparisons)

    def __getitem__(self, place: int, /) -> Comparison:
        return self.comparisons[place]

    def promoted(self) -> np.ndarray:
        return np.array([comparison.promoted for comparison in self.comparisons], dtype=bool)

    def json(self) -> pa.Array:
        return pa.array(
            [json.dumps(asdict(comparison), sort_keys=True) for comparison in self.comparisons], pa.string()
        )


@dataclass(frozen=True)
class ChallengerBatch:
    """The challengers of datasets held in memory, each a checkpoint of its own."""

    ledger: Ledger
    challengers: tuple[Challenger, ...]
    blobs: tuple[tuple[bytes, ...], ...]
    table: pa.Table

    @classmethod
    def of(
        cls, ledger: Ledger, challengers: Sequence[Challenger], *, run_id: str, trained_at: str, statistics: bool
    ) -> ChallengerBatch:
        """Return the challengers ready to be offered; nothing is stored before one is promoted."""
        ordered = sorted(challengers, key=lambda challenger: challenger.trained.name)  # as the champion table is
        blobs = [_blobs(challenger.stack_with(statistics=statistics)) for challenger in ordered]
        rows = [_row(c, of_one, run_id, trained_at) for c, of_one in zip(ordered, blobs, strict=True)]
        return cls(ledger, tuple(ordered), tuple(blobs), rows_to_table(rows))

    def decide(self, head: Version | None, champions: pa.Table) -> ComparisonList:
        """Return how each challenger stands against the champion of its dataset."""
        of_these = champions.filter(pc.is_in(champions["dataset"], value_set=self.table["dataset"].combine_chunks()))
        standing = {row["dataset"]: row for row in of_these.to_pylist()}
        rows = self.table.to_pylist()
        return ComparisonList(
            tuple(
                against(self.ledger, challenger, row, standing.get(row["dataset"]), head)
                for challenger, row in zip(self.challengers, rows, strict=True)
            )
        )

    def rows(self, promoted_m: np.ndarray) -> pa.Table:
        """Store the checkpoints of the promoted, and return their rows for the champion table."""
        for place in np.flatnonzero(promoted_m).tolist():
            for data in self.blobs[place]:
                self.ledger.put_blob(data, CHECKPOINT_EXT)
        return self.table.filter(pa.array(promoted_m))


def offer(
    ledger: Ledger,
    collection: str,
    challengers: Sequence[Challenger],
    *,
    run_id: str,
    trained_at: str,
    statistics: bool,
) -> tuple[Version | None, dict[str, Comparison]]:
    """Commit the challengers that are better than the champions; return the new version, if any, and comparisons."""
    batch = ChallengerBatch.of(ledger, challengers, run_id=run_id, trained_at=trained_at, statistics=statistics)
    version, (comparisons,) = commit_better(ledger, collection, [batch], run_id)
    return version, {c.trained.name: comparisons[place] for place, c in enumerate(batch.challengers)}


def _blobs(stack: Stack) -> tuple[bytes, ...]:
    """Return the checkpoint, and the statistics where there are any."""
    beside = write_statistics(stack)
    return (write_checkpoint(stack),) if beside is None else (write_checkpoint(stack), beside)


def _row(challenger: Challenger, blobs: Sequence[bytes], run_id: str, trained_at: str) -> dict[str, Any]:
    checkpoint, *beside = [ref_of(data, CHECKPOINT_EXT) for data in blobs]
    known = beside[0] if beside else None
    trained, point = challenger.trained, challenger.point
    result, hyper = trained.result, challenger.hyperparameters
    return {
        "dataset": trained.name,
        "checkpoint": checkpoint.sha256,
        "checkpoint_size": checkpoint.size_bytes,
        "statistics": known.sha256 if known else None,
        "statistics_size": known.size_bytes if known else None,
        "row": 0,
        "run_id": run_id,
        "trained_at": trained_at,
        "engine": result.engine,
        "status": result.status(0, point),
        "epoch": int(result.epoch_mg[0, point]),
        "hyperparameters": json.dumps(hyper, sort_keys=True),
        "loss": loss_text(trained.settings.loss, hyper),
        "metric": challenger.policy.metric,
        "mode": challenger.policy.mode,
        "score": challenger.score,
        "train_mse": result.train_mse_mg[0, point].item(),
        "val_mse": result.val_mse_mg[0, point].item(),
        "r2": result.r2_mg[0, point].item(),
        "num_rows": int(trained.trained.num_rows_m[0].item()),
        "fingerprint": trained.fingerprint,
    }
