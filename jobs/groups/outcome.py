"""What became of a fleet: counts, reasons, and the documents of its datasets, one after the other at any size.

Shapes: m groups · g grid points.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq
import torch

from jobs.champions.commit import Comparisons
from jobs.champions.documents import comparison_document, finite
from jobs.errors import one_line
from jobs.groups.training import PartResult, TrainedGroups
from jobs.groups.trial_documents import trial_documents

DOCUMENTED_DATASETS = 10_000  # above, the trials of each dataset are in the run's folder, not in the document
DATASETS_AT_ONCE = 512


@dataclass(frozen=True)
class PartOutcome:
    """A part of a fleet: its models, and how they stood (None: nothing was committed); its trials as parquet.

    There are no trials where they are not documented.
    """

    trained: tuple[TrainedGroups, ...]
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
        return sum(groups.num_groups for part in self.parts for groups in part.trained)

    @property
    def num_promoted(self) -> int:
        return sum(int(c.promoted().sum()) for part in self.parts for c in part.comparisons or ())

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the document of each dataset: those trained by part, then those that failed, by name."""
        for part in self.parts:
            trials = _Trials(part.trials)
            for number, groups in enumerate(part.trained):
                comparisons = part.comparisons[number] if part.comparisons is not None else None
                yield from _documents(groups, comparisons, trials)
        for status, reasons in (("no convergence", self.unconverged), ("failed", self.failures)):
            for name in sorted(reasons):
                yield {"dataset": name, "status": status, "best": None, "trials": [], "reason": reasons[name]}


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
        self._num_trained += sum(groups.num_groups for groups in result.trained)
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


class _Trials:
    """The trials of a part, by dataset."""

    def __init__(self, data: bytes | None) -> None:
        self._of: dict[str, list[dict[str, Any]]] = {}
        if data is None:
            return
        for name, document in trial_documents(data):
            self._of.setdefault(name, []).append(document)

    def of(self, name: str) -> list[dict[str, Any]] | None:
        """Return the trials of a dataset, or None where they are not documented."""
        return self._of.get(name)


def _documents(groups: TrainedGroups, comparisons: Comparisons | None, trials: _Trials) -> Iterator[dict[str, Any]]:
    names: Sequence[str] = groups.name_m.to_pylist()
    promoted = comparisons.promoted().tolist() if comparisons is not None else None
    for place, (name, best) in enumerate(zip(names, _bests(groups), strict=True)):
        status = "not committed" if promoted is None else "promoted" if promoted[place] else "kept"
        document: dict[str, Any] = {"dataset": name, "status": status, "best": best, "trials": trials.of(name)}
        if comparisons is not None:
            document["comparison"] = comparison_document(comparisons[place])
        yield document


def _bests(groups: TrainedGroups) -> Iterator[dict[str, Any]]:
    """Yield the best trial of each group; columns become lists once, as a number out of a tensor takes long."""
    hyper, stack = groups.hyperparameters, groups.stack
    points = [
        {name: value for name, value in values.items() if value}
        for values in (
            {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
            for momentum, nesterov, decay in zip(
                hyper.momentum_g.tolist(), hyper.nesterov_g.tolist(), hyper.weight_decay_g.tolist(), strict=True
            )
        )
    ]
    names = [*(["intercept"] if stack.bias_m is not None else []), *stack.card.columns]
    weight_md = stack.weight_md if stack.bias_m is None else torch.cat([stack.bias_m[:, None], stack.weight_md], dim=1)
    columns = (groups.learning_rate_m, groups.point_m, groups.epoch_m, groups.train_mse_m, groups.val_mse_m)
    rows = zip(*(column.tolist() for column in columns), groups.r2_m.tolist(), groups.status_m, strict=True)
    for (rate, point, epoch, train_mse, val_mse, r2, status), weights in zip(rows, weight_md.tolist(), strict=True):
        yield {
            "learning_rate": rate,
            **points[point],
            "epoch": epoch,
            "status": status,
            "diverged_at": None,
            "engine": groups.engine,
            "train_mse": finite(train_mse),
            "val_mse": finite(val_mse),
            "r2": finite(r2),
            "coefficients": dict(zip(names, weights, strict=True)),
        }
