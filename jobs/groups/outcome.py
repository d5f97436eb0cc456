"""The outcome of the groups of a source: models, reasons, and the documents of its datasets, one after the other.

Shapes: m groups · g grid points.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import chain, groupby, islice, zip_longest
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.champions.batch import Batch
from jobs.champions.challengers import Challengers
from jobs.champions.comparison import Comparisons
from jobs.champions.documents import DatasetStatus, dataset_document, status_of
from jobs.errors import DataError, one_line
from jobs.groups.training import PartResult
from jobs.recipe import Policy
from jobs.trials.documents import trial_documents
from jobs.trials.table import CURVES

DOCUMENTED_DATASETS = 10_000  # above, the trials of each dataset are in the run's folder, not in the document
DOCUMENTS_AT_ONCE = 16_384  # of all parts: each makes its share of them ahead
NAME = itemgetter("dataset")


@dataclass(frozen=True)
class GroupsOutcome:
    """The models of one source, and the reasons of its datasets without one; `computed` trials were trained now.

    `comparisons` has an element for each batch (None: nothing was committed). `trials` has the trials of each part as
    parquet; it is None if they are too many for documents. `error` is that of the first task that failed, and with it
    the groups of a part or the whole source.
    """

    name: str
    num_points: int
    batches: tuple[Batch, ...]
    trials: tuple[bytes, ...] | None
    failures: Mapping[str, str]
    unconverged: Mapping[str, str]
    computed: int = 0
    error: Exception | None = None
    comparisons: tuple[Comparisons, ...] | None = None
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    trial_statuses: Mapping[str, int] = field(default_factory=dict)

    def against(self, comparisons: Iterator[Comparisons]) -> GroupsOutcome:
        """Return the outcome after the commit; the next `comparisons` are those of its batches."""
        return replace(self, comparisons=tuple(islice(comparisons, len(self.batches))))

    @property
    def num_trials(self) -> int:
        return self.num_points * (self.num_trained + len(self.unconverged))

    @property
    def num_trained(self) -> int:
        return sum(batch.challengers.num_datasets for batch in self.batches)

    @property
    def num_datasets(self) -> int:
        return self.num_trained + len(self.unconverged) + len(self.failures)

    @property
    def num_promoted(self) -> int:
        return sum(int(each.promoted_m.sum()) for each in self.comparisons or ())

    @property
    def num_withdrawn(self) -> int:
        """The number of models that are not promoted because a rollback has withdrawn them."""
        return sum(int(each.withdrawn_m.sum()) for each in self.comparisons or ())

    def withdrawn(self) -> Iterator[tuple[str, str]]:
        """Yield the datasets of these models, with the reasons."""
        for batch, comparisons in zip(self.batches, self.comparisons or (), strict=True):
            for place in comparisons.withdrawn_m.nonzero()[0].tolist():
                yield batch.challengers.name_m[place].as_py(), comparisons[place].reason

    def statuses(self) -> dict[DatasetStatus, int]:
        """Return the number of datasets with each status."""
        trained: dict[DatasetStatus, int] = {"not committed": self.num_trained}
        if self.comparisons is not None:
            trained = {"promoted": self.num_promoted, "kept": self.num_trained - self.num_promoted}
        return trained | {"no convergence": len(self.unconverged), "failed": len(self.failures)}

    def warnings(self) -> Iterator[str]:
        """Yield the warnings of models that have not converged."""
        columns = (batch.challengers.column("warning").drop_null() for batch in self.batches)
        yield from chain.from_iterable(column.to_pylist() for column in columns)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the document of each dataset, in the order of names."""
        documents = merge(*self._trained(), _without_model("no convergence", self.unconverged, None), key=NAME)
        if self.notes:
            documents = (_with_notes(each, self.notes.get(each["dataset"])) for each in documents)
        if self.trials is not None:
            trials = merge(*map(_trials, self.trials), key=itemgetter(0))
            documents = ({**each, "trials": own} for each, (_, own) in zip(documents, trials, strict=True))
        documents = merge(documents, _without_model("failed", self.failures, []), key=NAME)
        if self.left_out:
            documents = (_with_left_out(each, self.left_out.get(each["dataset"])) for each in documents)
        yield from documents

    def _trained(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Yield the documents of each batch, without their trials."""
        ahead = 16 + DOCUMENTS_AT_ONCE // (1 + len(self.batches))
        for batch, comparisons in zip_longest(self.batches, self.comparisons or ()):
            yield _documents(batch.challengers, comparisons, ahead)


class Collected:
    """The results of the parts of a source, in any order; the trials are dropped if they are too many for documents."""

    def __init__(self) -> None:
        self._results: dict[int, PartResult] = {}
        self._trials: dict[int, bytes] | None = {}
        self._failures: dict[str, str] = {}
        self._num_datasets = self._computed = 0
        self._error: Exception | None = None
        self._trial_statuses: Counter[str] = Counter()
        self.unused: Mapping[str, str] = {}

    def add(self, number: int, result: PartResult, *, computed_points: int = 0) -> None:
        """Add a part by its number; its trials at `computed_points` grid points were computed now."""
        self._results[number] = replace(result, trials=None)
        self._failures |= result.failures
        self._computed += computed_points * result.num_datasets
        self._num_datasets += result.num_datasets
        self._trial_statuses += _trial_statuses(result.trials)
        if self._num_datasets > DOCUMENTED_DATASETS:
            self._trials = None
        elif self._trials is not None and result.trials is not None:
            self._trials[number] = result.trials

    def fail(self, names: Sequence[str], error: Exception) -> None:
        """Add groups that failed together by an error."""
        self._failures |= dict.fromkeys(names, one_line(error))
        self._error = self._error or error

    def outcome(self, name: str, policy: Policy, num_points: int, recipe: str | None = None) -> GroupsOutcome:
        """Return the outcome of the source of this name, which has `num_points` grid points; `recipe` is its digest."""
        results = [result for _, result in sorted(self._results.items(), key=itemgetter(0))]
        return GroupsOutcome(
            name=name,
            num_points=num_points,
            batches=tuple(
                Batch(challengers, policy, recipe=recipe) for result in results for challengers in result.trained
            ),
            trials=None if self._trials is None else tuple(self._trials.values()),
            failures=self._failures,
            unconverged={group: reason for result in results for group, reason in result.unconverged.items()},
            computed=self._computed,
            error=self._error,
            notes={group: said for result in results for group, said in result.notes.items()},
            left_out={group: counts for result in results for group, counts in result.left_out.items()},
            unused=self.unused,
            trial_statuses=self._trial_statuses,
        )


def _trial_statuses(trials: bytes | None) -> Counter[str]:
    """Return the number of trials with each status: one column of them is read."""
    if trials is None:
        return Counter()
    statuses = pq.read_table(pa.BufferReader(trials), columns=["status"])["status"]
    return Counter({each["values"]: each["counts"] for each in pc.value_counts(statuses).to_pylist()})


def _with_left_out(document: dict[str, Any], left_out: Mapping[str, int] | None) -> dict[str, Any]:
    return document | {"left_out": dict(left_out)} if left_out else document


def _with_notes(document: dict[str, Any], notes: Sequence[str] | None) -> dict[str, Any]:
    return document | {"notes": list(notes)} if notes else document


def require_distinct_names(names: Sequence[str], sources: Sequence[GroupsOutcome]) -> None:
    """Raise DataError if two sources of a job, or a source and the listed datasets `names`, give one dataset."""
    if len(sources) + bool(names) < 2:
        return
    seen = dict.fromkeys(names, "the configuration")
    for source in sources:
        for name in chain.from_iterable(batch.challengers.name_m.to_pylist() for batch in source.batches):
            if name in seen:
                raise same_name(name, seen[name], source.name)
            seen[name] = f"dataset {source.name!r}"


def same_name(name: str, first: str, second: str) -> DataError:
    """Return the error of two places that give a dataset of one name; `second` is the name of a source of groups."""
    return DataError(
        f"dataset {second!r}: its group {name!r} has the name of one of {first}: a collection has one dataset of each "
        f"name: set 'prefix: {second}/' for dataset {second!r}, so that its groups are named {second}/{name}"
    )


def _documents(challengers: Challengers, comparisons: Comparisons | None, ahead: int) -> Iterator[dict[str, Any]]:
    """Yield the documents of datasets in the order of names; `ahead` at once: a number out of a column takes long."""
    order_m = pc.sort_indices(challengers.name_m)
    for start in range(0, len(order_m), ahead):
        index = order_m.slice(start, ahead)
        said = (challengers.column(name).take(index).to_pylist() for name in ("choice", "warning"))
        for place, (name, best), choice, warning in zip(
            index.to_pylist(), challengers.documents(index), *said, strict=True
        ):
            comparison = None if comparisons is None else comparisons[place]
            more: dict[str, Any] = {
                "choice": choice,
                "warning": warning,
                "target_transform": challengers.stack.card.target_transform,
            }
            yield dataset_document(name, status_of(comparison), best, None, comparison=comparison, **more)


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
    for name, of_dataset in groupby(trial_documents(ordered), key=itemgetter(0)):
        yield name, [document for _, document in of_dataset]
