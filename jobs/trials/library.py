"""The stored trials of a job: of its own run, then of earlier runs (see earlier_runs.py).

    runs/<run_id>/blocks/<sha256 of the trials' keys>.safetensors    the trials of a block, when it ended
    runs/<run_id>/from/<other run>                                   an empty mark: trials of that run were used
    runs/<run_id>/checkpoints/<sha256 of the keys>/<number>          a training checkpoint: the highest number is used

The driver, not the task, writes the trials of a block when it receives them: so workers need no credentials, the store
may be a folder of the driver's machine, and the driver holds the claim of the run. It receives the results anyway, for
its report. An object is named by its content, so writing it again changes nothing. If an object can't be read, its
trials are trained again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from jobs.cluster.checkpoint_stream import Saved
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
    """The position of a stored trial: a row and a grid point of stored trials."""

    trials: KeyedTrials
    row: int
    point: int
    run_id: str


class TrialLibrary:
    """Find trials by their keys in the runs of a job, and store new ones in its own run, unless that is read-only."""

    def __init__(self, runs: EarlierRuns) -> None:
        self.runs = runs
        self._rest = iter(runs)
        self._places: dict[bytes, Place] = {}
        self._numbers: dict[str, dict[str, int]] = {}

    def look_for(self, keys: Iterable[bytes]) -> None:
        """Read run after run until all of these trials are found, or no run is left."""
        wanted = set(keys) - self._places.keys()
        while wanted and (folder := next(self._rest, None)) is not None:
            for data in _read_blocks(folder):
                self._add(data, folder.run_id)
            wanted -= self._places.keys()

    def place(self, key: bytes) -> Place | None:
        """Return the place of a trial among those that `look_for` has read, or None."""
        return self._places.get(key)

    def keep(self, trials: Sequence[KeyedTrials]) -> None:
        """Store the trials of a block as one object."""
        if trials:
            self.runs.create(_name(trials), write_trials(trials))

    def use(self, places: Sequence[Place]) -> None:
        """Remember that these trials are used; those of the runs with the fewest are copied, if the runs are many."""
        too_many = self.runs.use(run_id for run_id, _ in Counter(place.run_id for place in places).most_common())
        if copied := pieces_of(place for place in places if place.run_id in too_many):
            self.runs.copy(_name(copied), lambda: write_trials(copied))

    def checkpoint(self, name: str) -> bytes | None:
        """Return the newest training checkpoint with this name, of the run or of the one of its job that trained last.

        None if there is none.
        """
        for folder in self.runs.of_job:
            if (number := self._newest(folder).get(name)) is not None:
                return _read_object(folder, f"{RUN_CHECKPOINTS}{name}/{number:08d}")
        return None

    def save_checkpoint(self, saved: Saved) -> None:
        """Store a training checkpoint as the newest with its name."""
        if not self.runs.read_only:
            newest = self._newest(self.runs.own)
            number = newest[saved.name] = newest.get(saved.name, 0) + 1
            self.runs.create(f"{RUN_CHECKPOINTS}{saved.name}/{number:08d}", saved.data)

    def _newest(self, folder: RunFolder) -> dict[str, int]:
        """Return the number of the newest training checkpoint of each name in a run."""
        if folder.run_id not in self._numbers:
            paths = (path.removeprefix(RUN_CHECKPOINTS).partition("/") for path in folder.names(RUN_CHECKPOINTS))
            self._numbers[folder.run_id] = {name: int(number) for name, _, number in paths}
        return self._numbers[folder.run_id]

    def _add(self, data: bytes, run_id: str) -> None:
        try:
            stored = read_trials(data)
        except NotTrialsError as exc:
            logger.warning("run '%s': stored trials are not used: %s", run_id, exc)
            return
        for trials in stored:
            for row, keys in enumerate(trials.keys):
                for point, key in enumerate(keys):
                    self._places.setdefault(key, Place(trials, row, point, run_id))


def pieces_of(places: Iterable[Place]) -> tuple[KeyedTrials, ...]:
    """Return the trials at these places, those of one row together."""
    found: dict[tuple[int, int], list[Place]] = {}
    for place in places:
        found.setdefault((id(place.trials), place.row), []).append(place)
    return tuple(
        same[0].trials.take("m", torch.tensor([same[0].row])).take("g", torch.tensor([place.point for place in same]))
        for same in found.values()
    )


def _name(trials: Sequence[KeyedTrials]) -> str:
    keys = {key for each in trials for row in each.keys for key in row}
    return f"{BLOCKS}{block_name(keys)}.safetensors"


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
