"""The parts of a source: what earlier runs have trained of each, at which grid points, and what is missing.

    runs/<run_id>/parts/<key of the source>/<number>-of-<how many>/<sha256 of the trials' keys>    a part, when it ended

The source's key covers all that its models depend on but for the grid: what the configuration says of it, what the
file system says of its files (reading gigabytes to find that nothing changed would cost as much as training), the
settings, the engine's version, and what trials are compared by. A part is a line with the keys of its grid points, then
its bytes. Its name says into how many parts the groups were divided: a later run divides them in the same way.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from jobs.groups.merging import Piece, is_usable, merge_pieces
from jobs.groups.stored import FORMAT, part_bytes, part_of_bytes
from jobs.groups.training import PartResult
from jobs.recipe import Policy, Recipe
from jobs.sources.resolved import ResolvedSource
from jobs.training.resuming import missing_of
from jobs.trials.earlier_runs import EarlierRuns
from jobs.trials.keys import ENGINE_VERSIONS, block_name, trial_keys
from jobs.trials.library import TrialLibrary
from model_store.claims.runs import RunFolder
from model_store.errors import CorruptObjectError

logger = logging.getLogger(__name__)

Place = tuple[RunFolder, str]  # of an object


@dataclass(frozen=True)
class Part:
    """A part of a source: what is stored of it, and the recipe of the grid points that are not (None: all are)."""

    number: int
    stored: tuple[Piece, ...]
    missing: Recipe | None


@dataclass(frozen=True)
class Parts:
    """The parts of a source under a recipe, in the runs of a job (None: nothing is looked for, and nothing stored)."""

    source: ResolvedSource
    recipe: Recipe
    policy: Policy
    runs: EarlierRuns | None = None

    @cached_property
    def key(self) -> bytes:
        """The key of the source."""
        recipe, policy = self.recipe, self.policy
        what = [
            [FORMAT, ENGINE_VERSIONS[recipe.engine], recipe.engine, self.source.described],
            [recipe.settings.relevant(), recipe.automatic_rates, recipe.inference_statistics],
            [policy.metric, policy.mode, [list(stamp) for stamp in self.source.stamps]],
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).digest()

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The keys of the grid points."""
        return trial_keys(self.key, self.recipe)

    @cached_property
    def library(self) -> TrialLibrary | None:
        """Where checkpoints are stored (None: nowhere)."""
        return TrialLibrary(self.runs) if self.runs is not None else None

    def find(self) -> list[Part]:
        """Return every part of the source, with what is stored of it; none where nothing is stored."""
        if self.runs is None:
            return []
        num_parts, places = self._places(self.runs)
        used: set[str] = set()
        parts = [self._part(number, places.get(number, []), used) for number in range(num_parts)]
        self.runs.mark_used(used)
        return parts

    def missing_keys(self, part: Part) -> tuple[bytes, ...]:
        """Return the keys of the grid points that a part lacks."""
        return trial_keys(self.key, part.missing) if part.missing is not None else ()

    def keep(self, part: Part, num_parts: int, result: PartResult) -> None:
        """Store what was missing of a part."""
        if self.runs is None or self.runs.read_only:
            return
        keys = self.missing_keys(part)
        name = f"{self._prefix}{part.number:05d}-of-{num_parts:05d}/{block_name(set(keys))}"
        line = json.dumps([key.hex() for key in keys]).encode() + b"\n"
        if not self.runs.own.create(name, line + part_bytes(result)):
            logger.warning("run '%s' has %s with other content, which stays", self.runs.own.run_id, name)

    def merge(self, part: Part, trained: PartResult | None) -> PartResult:
        """Return a part at every grid point: what is stored of it, and what was trained now (None: nothing)."""
        now = [Piece(self.missing_keys(part), trained)] if trained is not None else []
        return merge_pieces([*part.stored, *now], self.keys, self.policy.mode)

    @property
    def _prefix(self) -> str:
        return f"parts/{self.key.hex()}/"

    def _places(self, runs: EarlierRuns) -> tuple[int, dict[int, list[Place]]]:
        """Return where the parts of one division are, the one of which most is stored, and its number of parts.

        Run after run is looked through until every part of a division is there with all grid points at once.
        """
        whole = block_name(set(self.keys))
        divisions: dict[int, dict[int, list[Place]]] = {}
        for folder in runs:
            for name in folder.names(self._prefix):
                number, _, of = name.removeprefix(self._prefix).partition("/")[0].partition("-of-")
                divisions.setdefault(int(of), {}).setdefault(int(number), []).append((folder, name))
            for num_parts, places in divisions.items():
                at_once = {at: [p for p in found if p[1].endswith(whole)] for at, found in places.items()}
                if len(at_once) == num_parts and all(at_once.values()):
                    return num_parts, at_once
        return max(divisions.items(), key=lambda division: len(division[1]) / division[0], default=(0, {}))

    def _part(self, number: int, places: Sequence[Place], used: set[str]) -> Part:
        wanted, covered = set(self.keys), set[bytes]()
        stored = []
        for folder, name in places:
            piece = None if wanted <= covered else self._read(folder, name)
            if piece is not None and is_usable(piece, wanted) and not covered.issuperset(wanted & set(piece.keys)):
                stored.append(piece)
                covered |= wanted & set(piece.keys)
                used.add(folder.run_id)
        return Part(number, tuple(stored), missing_of(self.recipe, self.keys, covered))

    def _read(self, folder: RunFolder, name: str) -> Piece | None:
        try:
            line, _, data = (folder.read(name) or b"").partition(b"\n")
            return Piece(tuple(map(bytes.fromhex, json.loads(line))), part_of_bytes(data, name))
        except (CorruptObjectError, ValueError) as exc:
            logger.warning("run '%s': %s; it is trained again", folder.run_id, " ".join(str(exc).split()))
            return None
