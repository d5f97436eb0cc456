"""The parts of a source: the grid points that earlier runs have trained of each, and those that are missing.

    runs/<run_id>/parts/<key of the source>/<number>-of-<how many>/<sha256 of the trials' keys>    a part, when it ended

The source's key covers all that its models depend on except the grid: its configuration, the size and time of each file
(a hash of gigabytes would take as long as training), the settings, the engine's version, and the metric. A part is a
line with the keys of its grid points, then its bytes. Its name has the number of parts: a later run divides the groups
in the same way.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from jobs.groups.merging import Piece, is_usable, merge_pieces
from jobs.groups.stored import FORMAT, part_bytes, part_of_bytes
from jobs.groups.training import PartResult
from jobs.recipe import Policy, Recipe
from jobs.sources.resolved import ResolvedSource
from jobs.training.resuming import missing_of
from jobs.trials.earlier_runs import EarlierRuns
from jobs.trials.keys import ENGINE_VERSIONS, block_name, trial_keys
from model_store.claims.runs import RunFolder
from model_store.errors import CorruptObjectError

logger = logging.getLogger(__name__)

Place = tuple[RunFolder, str]  # of an object


@dataclass(frozen=True)
class Part:
    """A part of a source: its stored results, and the recipe of the grid points that are not stored (None: all are)."""

    number: int
    stored: tuple[Piece, ...]
    missing: Recipe | None


@dataclass(frozen=True)
class Parts:
    """The parts of a source under a recipe, in the runs of a job."""

    source: ResolvedSource
    recipe: Recipe
    policy: Policy
    runs: EarlierRuns

    @cached_property
    def key(self) -> bytes:
        """The key of the source."""
        recipe, policy = self.recipe, self.policy
        what = [
            [FORMAT, ENGINE_VERSIONS[recipe.engine], recipe.engine, self.source.described],
            [recipe.settings.relevant(), recipe.automatic_rates, recipe.inference_statistics, recipe.ridge],
            [policy.metric, policy.mode, policy.require, [list(stamp) for stamp in self.source.stamps]],
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).digest()

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The keys of the grid points."""
        return trial_keys(self.key, self.recipe)

    def find(self) -> list[Part]:
        """Return every part of the source, with its stored results; none if nothing is stored."""
        num_parts, places = self._places()
        used: list[Place] = []
        parts = [self._part(number, places.get(number, []), used) for number in range(num_parts)]
        too_many = self.runs.use(dict.fromkeys(folder.run_id for folder, _ in used))
        for folder, name in used:
            if folder.run_id in too_many:
                self.runs.copy(name, partial(_read_object, folder, name))
        return parts

    def missing_keys(self, part: Part) -> tuple[bytes, ...]:
        """Return the keys of the grid points that a part lacks."""
        return trial_keys(self.key, part.missing) if part.missing is not None else ()

    def keep(self, part: Part, num_parts: int, result: PartResult) -> None:
        """Store the result of the missing grid points of a part."""
        keys = self.missing_keys(part)
        name = f"{self._prefix}{part.number:05d}-of-{num_parts:05d}/{block_name(set(keys))}"
        line = json.dumps([key.hex() for key in keys]).encode() + b"\n"
        self.runs.create(name, line + part_bytes(result))

    def merge(self, part: Part, trained: PartResult | None) -> PartResult:
        """Return a part at every grid point, from its stored results and the one that was trained now, if any."""
        now = [Piece(self.missing_keys(part), trained)] if trained is not None else []
        return merge_pieces([*part.stored, *now], self.keys, self.policy)

    @property
    def _prefix(self) -> str:
        return f"parts/{self.key.hex()}/"

    def _places(self) -> tuple[int, dict[int, list[Place]]]:
        """Return the number of parts of the division with most stored parts, and their places.

        The search ends at the run that completes a division whose every part has all grid points in one object.
        """
        whole = block_name(set(self.keys))
        divisions: dict[int, dict[int, list[Place]]] = {}
        for folder in self.runs:
            for name in folder.names(self._prefix):
                number, _, of = name.removeprefix(self._prefix).partition("/")[0].partition("-of-")
                divisions.setdefault(int(of), {}).setdefault(int(number), []).append((folder, name))
            for num_parts, places in divisions.items():
                at_once = {at: [each for each in stored if each[1].endswith(whole)] for at, stored in places.items()}
                if len(at_once) == num_parts and all(at_once.values()):
                    return num_parts, at_once
        return max(divisions.items(), key=lambda division: len(division[1]) / division[0], default=(0, {}))

    def _part(self, number: int, places: Sequence[Place], used: list[Place]) -> Part:
        wanted, covered = set(self.keys), set[bytes]()
        stored = []
        for folder, name in places:
            piece = None if wanted <= covered else self._read(folder, name)
            if piece is not None and is_usable(piece, wanted) and not covered.issuperset(wanted & set(piece.keys)):
                stored.append(piece)
                covered |= wanted & set(piece.keys)
                used.append((folder, name))
        return Part(number, tuple(stored), missing_of(self.recipe, self.keys, covered))

    def _read(self, folder: RunFolder, name: str) -> Piece | None:
        try:
            line, _, data = _read_object(folder, name).partition(b"\n")
            return Piece(tuple(map(bytes.fromhex, json.loads(line))), part_of_bytes(data, name))
        except (CorruptObjectError, ValueError) as exc:
            logger.warning("run '%s': %s; it is trained again", folder.run_id, " ".join(str(exc).split()))
            return None


def _read_object(folder: RunFolder, name: str) -> bytes:
    return folder.read(name) or b""
