"""Repair a collection: go on from what is whole. Nothing is removed or overwritten: a repair is one new version.

It mends what `verify` finds, as far as that is possible:

- commits that can't be read: the new version goes on from the last whole one, and names them as lost;
- lost shards of the newest champion table: their rows are those of the newest older version that has them whole;
- lost or damaged blobs of champions: the champion of the newest older version with whole blobs is restored.

What a rollback has withdrawn is not restored. A crash before the commit changes nothing, and after it all is done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass

from model_store.errors import MissingObjectError
from model_store.ledger.history import History
from model_store.ledger.salvage import Salvage, salvaged
from model_store.ledger.verify import Problem, verify
from model_store.ledger.versions import Draft, Version
from model_store.names import numbered, version_prefix
from model_store.objects.protocol import ObjectStore

SAID = re.compile(rb'"(created_at|run_id|action|note)": ("(?:[^"\\]|\\.)*")')
SAID_BYTES = 4096  # these fields are the first of a commit
TRAIN = "run the job again, which stores it again from the stored trials, or copy it from a copy of the store"
TODO = {
    "table": "copy it from a copy of the store",
    "parent": "another program has changed the history: compare it with a copy of the store",
    "refused": "make it readable, and repair again",
}

Commit = Callable[[Version | None, Draft, frozenset[str]], Version]


@dataclass(frozen=True)
class Left:
    """A problem that a repair can't mend, and what to do about it."""

    key: str
    version: int
    reason: str
    todo: str


@dataclass(frozen=True)
class Repair:
    """What a repair did, or would do with `dry_run`: `mended` in sentences, and the problems that are left.

    `version` is the newest version after it; `committed` is whether the repair made it.
    """

    collection: str
    version: int
    committed: bool
    dry_run: bool
    mended: tuple[str, ...]
    left: tuple[Left, ...]


def repair(objects: ObjectStore, collection: str, commit: Commit, *, dry_run: bool = False) -> Repair:
    """Mend what can be mended of a collection by one new version.

    `commit` makes it, from the version that it goes on from (None: none is whole), a draft, and the keys of broken
    blobs. Raises UnknownCollectionError, and NewerFormatError for what a newer gridline wrote.
    """
    from model_store.ledger.champion_table import CHAMPION_SCHEMA

    problems = verify(objects, collection)
    history = History(objects, collection)
    newest = history.head_number()
    base = history.newest_whole()
    broken = [problem.version for problem in problems if problem.kind == "commit"]
    lost = tuple(number for number in broken if history.read_whole(number) is None)
    bad = frozenset(problem.key for problem in problems if problem.kind == "blob")
    found = Salvage(CHAMPION_SCHEMA.empty_table()) if base is None else salvaged(base, _older(history, base), bad)
    mended = (*_lost_words(objects, collection, lost, base), *found.mended)
    if mended and not dry_run:
        note = f"after version {base.number}" if base else "no version was whole"
        note += f"; lost: {', '.join(map(str, lost))}" if lost else ""
        newest = commit(base, Draft(found.table, "", "repair", note, lost=lost), bad).number
    committed = bool(mended) and not dry_run
    if committed:
        problems = verify(objects, collection)
    needed = found.blob_keys()
    left = tuple(_left(problem, collection, needed) for problem in problems if problem.version not in lost)
    return Repair(collection, newest, committed, dry_run, mended, left)


def _older(history: History, base: Version) -> list[Version]:
    """Return the kept whole versions before `base`, the newest first, without those that a rollback has withdrawn."""
    withdrawn = {number for withdrawal in base.withdrawals for number in withdrawal.versions}
    numbers = range(base.number - 1, history.oldest_kept() - 1, -1)
    found = (history.read_whole(number) for number in numbers if number not in withdrawn)
    return [version for version in found if version is not None]


def _lost_words(objects: ObjectStore, collection: str, lost: Sequence[int], base: Version | None) -> Iterator[str]:
    for number in lost:
        said, is_newer = _said(objects, collection, number), base is None or number > base.number
        goes_on = f"version {base.number} is the last whole one" if base else "no version is whole: train again"
        what = f"; {goes_on}" if is_newer else "; no newer version needs it"
        withdrawn = base is not None and any(number in each.versions for each in base.withdrawals)
        more = ". A rollback has withdrawn its models, which runs can't recognise now" if withdrawn else ""
        if is_newer and base is not None and "action 'train'" not in said:
            more += ". If it was a rollback, what it took back is back: roll back again"
        yield f"version {number} is lost{said}{what}{more}"


def _said(objects: ObjectStore, collection: str, number: int) -> str:
    """Return what a damaged commit says of itself, as far as it can be read; nobody has checked it."""
    try:
        data = objects.read(numbered(version_prefix(collection), number))[:SAID_BYTES]
    except MissingObjectError:
        return " (its commit is missing)"
    said: dict[str, str] = {}
    for key, value in reversed(SAID.findall(data)):  # the first of each counts
        with suppress(ValueError):
            said[key.decode()] = json.loads(value)
    words = [f"{key} {value!r}" for key, value in sorted(said.items()) if value]
    return f" (it says of itself, unchecked: {', '.join(words)})" if words else ""


def _left(problem: Problem, collection: str, needed: Set[str]) -> Left:
    """Return a problem with what to do; the newest version needs the blobs with the keys `needed`."""
    todo = TODO.get(problem.kind, TRAIN)
    if problem.kind == "table" or (problem.kind == "blob" and problem.key not in needed):
        todo = f"only older versions need it: {todo}; or 'gridline gc {collection} --keep 1' forgets these versions"
    return Left(problem.key, problem.version, problem.reason, todo)
