"""The outcome of a job, and the document of `train --json`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from jobs.champions.batch import Batch
from jobs.champions.comparison import Comparison, Comparisons
from jobs.champions.documents import DatasetStatus, dataset_document, status_of
from jobs.errors import DONE, NO_CONVERGENCE, PARTIAL_FAILURE
from jobs.groups.outcome import GroupsOutcome
from jobs.training.datasets import TrainedDatasets
from jobs.trials.documents import trial_documents
from model_store.claims.under_way import Claimant

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetOutcome:
    """The outcome of a listed dataset: its trials and the best of them, or the reason why none may be promoted.

    `left_out` counts the rows that are left out, by reason; `unused` has the reasons of columns of no use.
    """

    name: str
    status: DatasetStatus
    trained: TrainedDatasets | None = None
    batch: Batch | None = None
    comparison: Comparison | None = None
    comparisons: Comparisons | None = None
    reason: str | None = None
    verification: Mapping[str, float] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)

    @property
    def point(self) -> int | None:
        """The position of the best trial in the grid, or None."""
        return int(self.batch.challengers.point_m) if self.batch else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the data, in sentences."""
        return self.trained.certificate.notes if self.trained and self.trained.certificate else ()

    def _of_best(self, column: str) -> str | None:
        """Return what is said of the best trial: its `choice`, or its `warning`."""
        text: str | None = self.batch.challengers.column(column)[0].as_py() if self.batch else None
        return text

    def against(self, comparisons: Iterator[Comparisons]) -> DatasetOutcome:
        """Return the outcome after the commit; the next of `comparisons` is that of its batch, if it has one."""
        if self.batch is None:
            return self
        compared = next(comparisons)
        comparison = compared[0]
        logger.info("comparison %s", json.dumps({"dataset": self.name, **asdict(comparison)}))
        return replace(self, status=status_of(comparison), comparison=comparison, comparisons=compared)

    def document(self) -> dict[str, Any]:
        """Return what `train --json` says of the dataset."""
        trials = [trial for _, trial in trial_documents(self.trained.trials())] if self.trained else []
        return dataset_document(
            self.name,
            self.status,
            None if self.point is None else trials[self.point],
            trials,
            reason=self.reason,
            choice=self._of_best("choice"),
            warning=self._of_best("warning"),
            comparison=self.comparison,
            verification=self.verification,
            notes=self.notes,
            left_out=self.left_out,
            columns_left_out=self.unused,
            target_transform=self.trained.card.target_transform if self.trained else None,
        )


@dataclass(frozen=True)
class JobOutcome:
    """The outcome of a job. `version` is the newest of the collection after it; None if it has none.

    `computed` and `reused` are the numbers of trials that were trained now, and that were stored. `earlier` are the
    documents of the run that this one `repeats`: then it has no datasets of its own. A job that was skipped has none
    either, and an empty run id. `measured` are its metrics and cost.
    """

    run_id: str
    collection: str
    version: int | None = None
    committed: bool = False
    datasets: tuple[DatasetOutcome, ...] = ()
    computed: int = 0
    reused: int = 0
    fleets: tuple[GroupsOutcome, ...] = ()
    earlier: tuple[Mapping[str, Any], ...] = ()
    repeats: str | None = None
    skipped: Claimant | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 3 if no trial of some dataset converged, or 5 if some datasets failed otherwise."""
        statuses = {dataset.status for dataset in self.datasets} | {document["status"] for document in self.earlier}
        if "failed" in statuses or any(fleet.failures for fleet in self.fleets):
            return PARTIAL_FAILURE
        unconverged = "no convergence" in statuses or any(fleet.unconverged for fleet in self.fleets)
        return NO_CONVERGENCE if unconverged else DONE

    def to_json(self) -> dict[str, Any]:
        """Return the document of `train --json`."""
        return self.summary() | {"datasets": list(self.documents())}

    def summary(self) -> dict[str, Any]:
        """Return the document without its datasets."""
        names = ("run_id", "collection", "version", "committed", "computed", "reused")
        more: dict[str, Any] = {
            "columns_left_out": {fleet.name: dict(fleet.unused) for fleet in self.fleets if fleet.unused},
            "repeats": self.repeats,
            "skipped": asdict(self.skipped) if self.skipped else None,
        }
        return (
            {name: getattr(self, name) for name in names}
            | {"run_id": self.run_id or None}
            | {key: value for key, value in more.items() if value}
            | dict(self.measured)
        )

    def listed_documents(self) -> Iterator[Mapping[str, Any]]:
        """Yield the document of each listed dataset."""
        yield from (dataset.document() for dataset in self.datasets)
        yield from self.earlier

    def documents(self) -> Iterator[Mapping[str, Any]]:
        """Yield the document of each dataset, one at a time: a source may have a million."""
        yield from self.listed_documents()
        for fleet in self.fleets:
            yield from fleet.documents()
