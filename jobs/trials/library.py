"""The stored trials of a job: those of its own run, then those of the runs that the collection's head names.

    runs/<run_id>/blocks/<sha256 of the trials' keys>.safetensors    the trials of a block, when it ended
    runs/<run_id>/from/<other run>                                   an empty mark: trials of that run were used
    runs/<run_id>/checkpoints/<sha256 of the keys>/<number>          a dataset on its way: the highest number counts

The driver writes a block when its outcome arrives, not the task that trained it: workers of a cluster need no
credentials then, the store may be a folder that they can't see, and it is the driver that holds the claim of the run.
The results travel to the driver anyway, which reports them. A name says all that is in an object, so writing it again
changes nothing; what can't be read is trained again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jobs.trials.columns import KeyedTrials
from jobs.trials.keys import block_name
from jobs.trials.serialization import NotTrialsError, read_trials, write_trials
from model_store.claims.runs import RunFolder
from model_store.errors import CorruptObjectError
from model_store.ledger.ledger import Ledger
from model_store.names import RUN_CHECKPOINTS, RUN_MARKS

logger = logging.getLogger(__name__)

BLOCKS = "blocks/"
MAX_RUNS = 16  # that are looked through: the head of a fleet may name a run for every day


@dataclass(frozen=True)
class Place:
    """Where a stored trial is: a row and a grid point of a group."""

    group: KeyedTrials
    row: int
    point: int
    run_id: str


class TrialLibrary:
    """Finds trials by their keys, and keeps new ones. With `read_only` nothing is written."""

    def __init__(self, ledger: Ledger, collection: str, run_id: str, *, read_only: bool = False) -> None:
        self._ledger = ledger
        self._own = ledger.run(run_id)
        self._read_only = read_only
        self._places: dict[bytes, Place] = {}
        self._num_saved: dict[str, int] | None = None
        self._runs = self._runs_of(collection)

    def look_for(self, keys: Iterable[bytes]) -> None:
        """Read run after run until all of these trials are found, or there is no run left to look through."""
        wanted = set(keys) - self._places.keys()
        while wanted and (folder := next(self._runs, None)) is not None:
            for data in _read_blocks(folder):
                self._add(data, folder.run_id)
            wanted -= self._places.keys()

    def place(self, key: bytes) -> Place | None:
        """Return where a trial is, among what was looked for."""
        return self._places.get(key)

    def mark_used(self, run_ids: Iterable[str]) -> None:
        """Note whose trials were used: the next run finds them by way of this one."""
        for run_id in sorted(set(run_ids) - {self._own.run_id}):
            if not self._read_only:
                self._own.create(f"{RUN_MARKS}{run_id}", b"")

    def keep(self, trials: Sequence[KeyedTrials]) -> None:
        """Store the trials of a block as one object."""
        if self._read_only or not trials:
            return
        keys = {key for part in trials for row in part.keys for key in row}
        name = f"{BLOCKS}{block_name(keys)}.safetensors"
        if not self._own.create(name, write_trials(trials)):
            logger.warning("run '%s' has %s with other content, which stays", self._own.run_id, name)

    def checkpoint(self, name: str) -> bytes | None:
        """Return the newest checkpoint of a name that this run has saved."""
        number = self._saved().get(name)
        return _read_object(self._own, f"{RUN_CHECKPOINTS}{name}/{number:08d}") if number else None

    def save_checkpoint(self, name: str, data: bytes) -> None:
        """Store the next checkpoint of a name."""
        if not self._read_only:
            number = self._saved()[name] = self._saved().get(name, 0) + 1
            self._own.create(f"{RUN_CHECKPOINTS}{name}/{number:08d}", data)

    def _saved(self) -> dict[str, int]:
        """Return the number of the newest checkpoint of each name."""
        if self._num_saved is None:
            paths = (path.removeprefix(RUN_CHECKPOINTS).partition("/") for path in self._own.names(RUN_CHECKPOINTS))
            self._num_saved = {name: int(number) for name, _, number in paths}
        return self._num_saved

    def _runs_of(self, collection: str) -> Iterator[RunFolder]:
        """Yield the run's own folder, then those it took trials from and those of the head, each once."""
        seen: set[str] = set()
        waiting = [self._own.run_id]
        asked_head = False
        while (waiting or not asked_head) and len(seen) < MAX_RUNS:
            if not waiting:
                asked_head = True
                waiting = [run_id for run_id in self._head_runs(collection) if run_id not in seen]
                continue
            run_id = waiting.pop(0)
            seen.add(run_id)
            folder = self._ledger.run(run_id)
            yield folder
            marks = (name.removeprefix(RUN_MARKS) for name in folder.names(RUN_MARKS))
            waiting += [mark for mark in marks if mark not in seen and mark not in waiting]

    def _head_runs(self, collection: str) -> list[str]:
        head = self._ledger.head(collection)
        if head is None:
            return []
        trained_by = head.table(["run_id"])["run_id"].unique().to_pylist()
        return [run_id for run_id in dict.fromkeys([head.run_id, *trained_by]) if run_id]

    def _add(self, data: bytes, run_id: str) -> None:
        try:
            groups = read_trials(data)
        except NotTrialsError as exc:
            logger.warning("run '%s': stored trials are not used: %s", run_id, exc)
            return
        for group in groups:
            for row, keys in enumerate(group.keys):
                for point, key in enumerate(keys):
                    self._places.setdefault(key, Place(group, row, point, run_id))


def _read_blocks(folder: RunFolder) -> Iterator[bytes]:
    names = folder.names(BLOCKS)
    try:
        yield from folder.read_many(names).values()
    except CorruptObjectError:
        yield from filter(None, (_read_object(folder, name) for name in names))


def _read_object(folder: RunFolder, name: str) -> bytes | None:
    try:
        return folder.read(name)
    except CorruptObjectError as exc:
        logger.warning("run '%s': %s; it is trained again", folder.run_id, exc)
        return None
