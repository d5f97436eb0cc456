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
from jobs.trials.earlier_runs import EarlierRuns
from jobs.trials.keys import block_name
from jobs.trials.serialization import NotTrialsError, read_trials, write_trials
from model_store.claims.runs import RunFolder
from model_store.errors import CorruptObjectError
from model_store.names import RUN_CHECKPOINTS

logger = logging.getLogger(__name__)

BLOCKS = "blocks/"


@dataclass(frozen=True)
class Place:
    """Where a stored trial is: a row and a grid point of a group."""

    group: KeyedTrials
    row: int
    point: int
    run_id: str


class TrialLibrary:
    """Finds trials by their keys in the runs of a job, and keeps new ones in its own, unless that is read-only."""

    def __init__(self, runs: EarlierRuns) -> None:
        self.runs = runs
        self._rest = iter(runs)
        self._places: dict[bytes, Place] = {}
        self._num_saved: dict[str, int] | None = None

    def look_for(self, keys: Iterable[bytes]) -> None:
        """Read run after run until all of these trials are found, or there is no run left to look through."""
        wanted = set(keys) - self._places.keys()
        while wanted and (folder := next(self._rest, None)) is not None:
            for data in _read_blocks(folder):
                self._add(data, folder.run_id)
            wanted -= self._places.keys()

    def place(self, key: bytes) -> Place | None:
        """Return where a trial is, among what was looked for."""
        return self._places.get(key)

    def keep(self, trials: Sequence[KeyedTrials]) -> None:
        """Store the trials of a block as one object."""
        if self.runs.read_only or not trials:
            return
        keys = {key for part in trials for row in part.keys for key in row}
        name = f"{BLOCKS}{block_name(keys)}.safetensors"
        if not self.runs.own.create(name, write_trials(trials)):
            logger.warning("run '%s' has %s with other content, which stays", self.runs.own.run_id, name)

    def checkpoint(self, name: str) -> bytes | None:
        """Return the newest checkpoint of a name that this run has saved."""
        number = self._saved().get(name)
        return _read_object(self.runs.own, f"{RUN_CHECKPOINTS}{name}/{number:08d}") if number else None

    def save_checkpoint(self, name: str, data: bytes) -> None:
        """Store the next checkpoint of a name."""
        if not self.runs.read_only:
            number = self._saved()[name] = self._saved().get(name, 0) + 1
            self.runs.own.create(f"{RUN_CHECKPOINTS}{name}/{number:08d}", data)

    def _saved(self) -> dict[str, int]:
        """Return the number of the newest checkpoint of each name."""
        if self._num_saved is None:
            paths = (path.removeprefix(RUN_CHECKPOINTS).partition("/") for path in self.runs.own.names(RUN_CHECKPOINTS))
            self._num_saved = {name: int(number) for name, _, number in paths}
        return self._num_saved

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
