"""What became of a fleet: counts, reasons, and the documents of its datasets, one after the other at any size.

Shapes: m groups · g grid points.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.champions.challengers import Challengers
from jobs.champions.comparison import Comparisons
from jobs.champions.documents import DatasetStatus, dataset_document
from jobs.errors import one_line
from jobs.groups.training import PartResult
from jobs.trials.documents import trial_documents
from jobs.trials.table import CURVES

DOCUMENTED_DATASETS = 10_000  # above, the trials of each dataset are in the run's folder, not in the document
DOCUMENTS_AT_ONCE = 16_384  # of all parts: each makes its share of them ahead
NAME = itemgetter("dataset")


@dataclass(frozen=True)
class PartOutcome:
    """A part of a fleet: its models, and how they stood (None: nothing was committed); its trials as parquet.

    There are no trials where they are not documented.
    """

    trained: tuple[Challengers, ...]
    comparisons: tuple[Comparisons, ...] | None
    num_trials: int
    trials: bytes | None


@dataclass(frozen=True)
class GroupsOutcome:
    """What became of the datasets of one source; `computed` counts the trials that were trained now.

    `error` is that of the first task that failed, and with it the groups of a part or the whole source.
    """

    name: str
    parts: tuple[PartOutcome, ...]
    failures: Mapping[str, str]
    unconverged: Mapping[str, str]
    computed: int = 0
    error: Exception | None = None

    def against(self, comparisons: Iterator[Comparisons]) -> GroupsOutcome:
        """Return the same after the commit: the comparisons are those of the models, part by part."""
        parts = tuple(replace(part, comparisons=tuple(next(comparisons) for _ in part.trained)) for part in self.parts)
        return replace(self, parts=parts)

    @property
    def num_trials(self) -> int:
        return sum(part.num_trials for part in self.parts)

    @property
    def num_trained(self) -> int:
        return sum(challengers.num_datasets for part in self.parts for challengers in part.trained)

    @property
    def num_promoted(self) -> int:
        return sum(int(c.promoted().sum()) for part in self.parts for c in part.comparisons or ())

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the document of each dataset, in the order of names."""
        unconverged = _without_model("no convergence", self.unconverged, None)
        documents = self._with_trials(merge(*self._trained(), unconverged, key=NAME))
        yield from merge(documents, _without_model("failed", self.failures, []), key=NAME)

    def _with_trials(self, documents: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the documents with their trials, where those are documented."""
        if any(part.trials is None and part.num_trials for part in self.parts):
            yield from documents
            return
        of_parts = (_trials(part.trials) for part in self.parts if part.trials is not None)
        for document, (_, trials) in zip(documents, merge(*of_parts, key=itemgetter(0)), strict=True):
            yield document | {"trials": trials}

    def _trained(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Yield the documents of each model card of each part, without their trials."""
        ahead = 16 + DOCUMENTS_AT_ONCE // (1 + sum(len(part.trained) for part in self.parts))
        for part in self.parts:
            stood = [None] * len(part.trained) if part.comparisons is None else part.comparisons
            for challengers, comparisons in zip(part.trained, stood, strict=True):
                yield _documents(challengers, comparisons, ahead)


class Collected:
    """The parts of a fleet as they come, in any order; trials are let go once there are too many to be documented."""

    def __init__(self) -> None:
        self._parts: dict[int, PartOutcome] = {}
        self._trials: dict[int, bytes | None] = {}
        self._failures: dict[str, str] = {}
        self._unconverged: dict[str, str] = {}
        self._num_trained = self._computed = 0
        self._error: Exception | None = None

    def add(self, number: int, result: PartResult, *, computed: int = 0) -> None:
        """Add a part by its number; so many of its trials were computed now, and the others were stored."""
        self._computed += computed
        self._parts[number] = PartOutcome(result.trained, None, num_trials(result), None)
        self._trials[number] = result.trials
        self._failures |= result.failures
        self._unconverged |= result.unconverged
        self._num_trained += sum(challengers.num_datasets for challengers in result.trained)
        if self._num_trained + len(self._unconverged) > DOCUMENTED_DATASETS:
            self._trials.clear()

    def fail(self, names: Sequence[str], error: Exception) -> None:
        """Add groups that failed together by an error."""
        self._failures |= dict.fromkeys(names, one_line(error))
        self._error = self._error or error

    def outcome(self, name: str) -> GroupsOutcome:
        """Return what became of the source of this name."""
        parts = tuple(replace(self._parts[at], trials=self._trials.get(at)) for at in sorted(self._parts))
        return GroupsOutcome(name, parts, self._failures, self._unconverged, self._computed, self._error)


def num_trials(result: PartResult) -> int:
    """Return the number of trials of a part."""
    return int(pq.read_metadata(io.BytesIO(result.trials)).num_rows) if result.trials else 0


def _documents(challengers: Challengers, comparisons: Comparisons | None, ahead: int) -> Iterator[dict[str, Any]]:
    """Yield the documents of datasets in the order of names; `ahead` at once: a number out of a column takes long."""
    promoted = comparisons.promoted().tolist() if comparisons is not None else None
    order_m = pc.sort_indices(challengers.name_m)
    for start in range(0, len(order_m), ahead):
        index = order_m.slice(start, ahead)
        for place, (name, best) in zip(index.to_pylist(), challengers.documents(index), strict=True):
            status: DatasetStatus = "not committed" if promoted is None else "promoted" if promoted[place] else "kept"
            comparison = comparisons[place] if comparisons is not None else None
            yield dataset_document(name, status, best, None, comparison=comparison)


def _without_model(
    status: DatasetStatus, reasons: Mapping[str, str], trials: Sequence[Mapping[str, Any]] | None
) -> Iterator[dict[str, Any]]:
    for name in sorted(reasons):
        yield dataset_document(name, status, None, trials, reason=reasons[name])


def _trials(data: bytes) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the datasets of a part with their trials, in the order of names."""
    file = pq.ParquetFile(io.BytesIO(data))
    trials = file.read([name for name in file.schema_arrow.names if name not in CURVES]).unify_dictionaries()
    ordered = trials.take(pc.sort_indices(trials["dataset"].cast(pa.string())))
    for name, of_dataset in itertools.groupby(trial_documents(ordered), key=itemgetter(0)):
        yield name, [document for _, document in of_dataset]
