"""What a job says of itself: the document of `train --json`, and the trials as a table to keep.

Shapes: m = 1 dataset · g grid points · e evaluated epochs.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.champions.challenger import Challenger
from jobs.champions.documents import comparison_document, finite
from jobs.champions.selection import Comparison
from jobs.engines.hyperparameters import shown
from jobs.training.datasets import TrainedDataset

if TYPE_CHECKING:
    from jobs.groups.outcome import GroupsOutcome

DatasetStatus = Literal["promoted", "kept", "not committed", "no convergence", "failed"]


@dataclass(frozen=True)
class DatasetOutcome:
    """What became of one dataset: its trials and the best of them, or the reason why there are none."""

    name: str
    status: DatasetStatus
    trained: TrainedDataset | None = None
    challenger: Challenger | None = None
    comparison: Comparison | None = None
    reason: str | None = None
    verification: Mapping[str, float] | None = None

    def document(self) -> dict[str, Any]:
        """Return what `train --json` says of the dataset."""
        trained, challenger = self.trained, self.challenger
        trials = [trial_document(trained, point) for point in _points(trained)] if trained else []
        document: dict[str, Any] = {
            "dataset": self.name,
            "status": self.status,
            "best": trials[challenger.point] if challenger else None,
            "trials": trials,
        }
        if self.reason is not None:
            document["reason"] = self.reason
        if self.comparison is not None:
            document["comparison"] = comparison_document(self.comparison)
        if self.verification is not None:
            document["verification"] = dict(self.verification)
        return document


@dataclass(frozen=True)
class JobOutcome:
    """What became of a job. `version` is the collection's newest after it; None where nothing was ever committed.

    `computed` and `reused` are the numbers of trials that were trained now, and that were stored. `earlier` are the
    documents of a run that this one repeats: then it has no datasets of its own.
    """

    run_id: str
    collection: str
    version: int | None
    committed: bool
    datasets: tuple[DatasetOutcome, ...]
    computed: int = 0
    reused: int = 0
    fleets: tuple[GroupsOutcome, ...] = ()
    earlier: tuple[Mapping[str, Any], ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 where no trial of some dataset converged, or 5 where some datasets failed otherwise."""
        statuses = {dataset.status for dataset in self.datasets} | {document["status"] for document in self.earlier}
        if "failed" in statuses or any(fleet.failures for fleet in self.fleets):
            return 5
        unconverged = "no convergence" in statuses or any(fleet.unconverged for fleet in self.fleets)
        return 3 if unconverged else 0

    def to_json(self) -> dict[str, Any]:
        """Return the document of `train --json`."""
        return self.summary() | {"datasets": list(self.documents())}

    def summary(self) -> dict[str, Any]:
        """Return the document without its datasets."""
        return {
            "run_id": self.run_id,
            "collection": self.collection,
            "version": self.version,
            "committed": self.committed,
            "computed": self.computed,
            "reused": self.reused,
        }

    def listed_documents(self) -> Iterator[Mapping[str, Any]]:
        """Yield the document of each dataset that is not of a fleet."""
        yield from (dataset.document() for dataset in self.datasets)
        yield from self.earlier

    def documents(self) -> Iterator[Mapping[str, Any]]:
        """Yield the document of each dataset, one at a time: a fleet may have a million."""
        yield from self.listed_documents()
        for fleet in self.fleets:
            yield from fleet.documents()


def _points(trained: TrainedDataset) -> range:
    return range(trained.hyperparameters.num_points)


def trial_document(trained: TrainedDataset, point: int) -> dict[str, Any]:
    """Return one trial; what is undefined, or not finite, is null."""
    result = trained.result
    diverged_at = int(result.diverged_at_mg[0, point])
    document: dict[str, Any] = shown(trained.hyperparameters.values(0, point), trained.settings)
    document |= {
        "epoch": None if diverged_at else int(result.epoch_mg[0, point]),
        "status": result.status(0, point),
        "diverged_at": diverged_at or None,
        "engine": result.engine,
        "train_mse": finite(result.metric("train_mse")[0, point].item()),
        "val_mse": finite(result.metric("val_mse")[0, point].item()),
        "r2": finite(result.metric("r2")[0, point].item()),
    }
    if trained.settings.loss != "mse":
        document |= {
            "train_loss": finite(result.metric("train_loss")[0, point].item()),
            "val_loss": finite(result.metric("val_loss")[0, point].item()),
        }
    document["coefficients"] = None if diverged_at else coefficients(trained, point)
    return document


def coefficients(trained: TrainedDataset, point: int) -> dict[str, float]:
    """Return the weights in raw units by the names of their encoded columns, after `intercept` if there is a bias."""
    weight_p = trained.result.weight_mgp[0, point].tolist()
    names = trained.card.columns
    intercept = {"intercept": weight_p[len(names)]} if trained.card.bias else {}
    return intercept | dict(zip(names, weight_p, strict=False))


def trials_parquet(datasets: Sequence[TrainedDataset]) -> bytes:
    """Return trials as parquet: a row a trial, its curves as lists; equal trials give equal bytes."""
    rows = [_trial_row(trained, point) for trained in datasets for point in _points(trained)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    return sink.getvalue()


def _trial_row(trained: TrainedDataset, point: int) -> dict[str, Any]:
    result = trained.result
    fields = {key: value for key, value in trial_document(trained, point).items() if key != "coefficients"}
    named = coefficients(trained, point)
    return {
        "dataset": trained.name,
        "fingerprint": trained.fingerprint,
        **trained.hyperparameters.values(0, point),
        **fields,
        "columns": list(named),
        "coefficients": list(named.values()),
        "epochs": result.epochs_e.tolist(),
        "train_curve": result.train_curve_mge[0, point].tolist(),
        "val_curve": result.val_curve_mge[0, point].tolist(),
    }
