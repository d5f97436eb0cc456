"""Whether a run of a collection is under way, and what an execution does then: it skips, waits, or fails.

    claims/collection=<name>/00000000000000000003.json      held by an execution that wants to be the only one

An execution that wants to be the only one of its collection takes this claim, so that there is one of these. Then it
looks for the claims of the other executions, which look for nobody. A process that was killed keeps its claim until the
lease ends, if no process of its machine can tell: so `skip` waits until it has seen that the other one lives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from model_store.claims.claims import LEASE_S, LONGEST_LEASE_S, Claim, Holder, Note, holder_of
from model_store.claims.executions import Execution, RunNote, claim_prefix, holders, look_up
from model_store.claims.process_identity import is_alive
from model_store.errors import RunClaimedError
from model_store.names import OF_COLLECTION, claim_of
from model_store.objects.probe import require_promises
from model_store.objects.protocol import ObjectStore

IfRunning = Literal["skip", "wait", "fail"]
Say = Callable[[str], None]

POLL_S = 2.0
SAY_EVERY_S = 60.0
NO_RUN_YET: Note = RunNote("").to_json()
WAITING = {"wait": "waiting for its end", "skip": "waiting for its next heartbeat, then this run is skipped"}


@dataclass(frozen=True)
class Claimant:
    """The run that is under way: its id ('' if it has none yet), its process, and since when, by the store's clock."""

    run_id: str
    process: str
    since: str

    def __str__(self) -> str:
        run = f"run '{self.run_id}'" if self.run_id else "a run"
        return f"{run} is under way ({self.process}, since {self.since})"


@contextmanager
def begin(
    objects: ObjectStore, collection: str, job: str, run_id: str | None, if_running: IfRunning | None, say: Say
) -> Iterator[Execution | Claimant]:
    """Give the execution of a job, or the claimant of its collection because of which it is skipped.

    Without `if_running`, only another execution of the same job is in the way, and nothing is claimed yet. With it, the
    execution has its claim, and no other one of the collection is under way; `say` tells for whom it waits.
    Raises RunClaimedError if the claim is held, or with "fail" if a run of the collection is under way.
    """
    if if_running is None:
        execution = look_up(objects, collection, job, run_id)
        yield execution
        return
    entrance = _Entrance(objects, collection, claim_of(run_id or job), if_running, say)
    while True:
        try:
            only = entrance.claim()
        except RunClaimedError:
            if (claimant := entrance.wait()) is not None:
                yield claimant
                return
            continue
        with only:
            if (claimant := entrance.wait(but={f"{OF_COLLECTION}{collection}"})) is not None:
                yield claimant
                return
            execution = look_up(objects, collection, job, run_id)
            with ExitStack() as held:
                try:
                    only.check()
                    held.enter_context(execution.claimed())
                except RunClaimedError:  # by an execution that looks for nobody, or while this process did not answer
                    continue
                only.note = execution.note.to_json()
                yield execution
                return


@dataclass
class _Entrance:
    """Waits until no run of a collection is under way."""

    objects: ObjectStore
    collection: str
    own: str  # the name of the claim that the execution needs
    if_running: IfRunning
    say: Say

    def claim(self) -> Claim:
        """Take the claim of the collection. Raises RunClaimedError."""
        require_promises(self.objects)
        name = f"{OF_COLLECTION}{self.collection}"
        holder = holder_of(self.objects, claim_prefix(name))
        if holder is not None and holder.is_live:
            raise RunClaimedError(f"{name} is claimed")
        return Claim(self.objects, claim_prefix(name), f"collection '{self.collection}'", LEASE_S, holder, NO_RUN_YET)

    def wait(self, but: Set[str] = frozenset()) -> Claimant | None:
        """Return None when nothing is under way beside the claims `but`, or the claimant because of which to skip.

        Raises RunClaimedError with "fail".
        """
        seen: dict[str, Holder] = {}
        said_at = float("-inf")
        while (found := self._found(but)) is not None:
            name, holder = found
            claimant = _claimant(name, holder)
            if self.if_running == "fail":
                raise RunClaimedError(
                    f"collection '{self.collection}': {claimant}; wait for it to end, or say --if-running wait or skip"
                )
            first = seen.setdefault(name, holder)
            has_beaten = (first.number, first.token) != (holder.number, holder.token)
            if self.if_running == "skip" and (is_alive(holder.process) or has_beaten):
                return claimant
            if time.monotonic() - said_at >= SAY_EVERY_S:
                said_at = time.monotonic()
                self.say(f"{claimant}: {WAITING[self.if_running]}")
            time.sleep(POLL_S)
        return None

    def _found(self, but: Set[str]) -> tuple[str, Holder] | None:
        """Return a live claim of the collection, with its name; that of a run first."""
        since = self.objects.now() - 2 * LONGEST_LEASE_S
        found = holders(self.objects, since, but).items()
        live = {name: holder for name, holder in found if holder.is_live and self._is_ours(name, holder)}
        return min(live.items(), key=lambda each: each[0].startswith(OF_COLLECTION), default=None)

    def _is_ours(self, name: str, holder: Holder) -> bool:
        """Return whether a claim is of the collection; an earlier gridline tells it by the name only."""
        if name in (self.own, f"{OF_COLLECTION}{self.collection}"):
            return True
        of = RunNote.of(name, holder).collection
        return (
            of == self.collection
            if of
            else re.fullmatch(f"{re.escape(self.collection)}-[0-9a-f]{{12}}", name) is not None
        )


def _claimant(name: str, holder: Holder) -> Claimant:
    since = datetime.fromtimestamp(holder.started_at, UTC).isoformat(timespec="seconds")
    return Claimant(RunNote.of(name, holder).run_id, str(holder.process), since)
