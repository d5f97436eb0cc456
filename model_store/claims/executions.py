"""Which run an execution of a job is: the run that was not finished, or a new one.

    claims/<job>/00000000000000000007.json      the claim of a job: its note names the newest run of the job

A job is a configuration under the name of its collection: `plants-c8c0bef1906f`. One process at a time executes it. Who
takes the claim reads the note of the last holder, and writes the next number: so nobody else can begin from that note.
A run whose process was killed or failed has not ended: the next execution continues it, under its id. After a run that
has ended, the next execution is a new run. A run id that the user gives has a claim of its own, and always continues.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from model_store.claims.claims import LEASE_S, Claim, Holder, Note, holder_of, require_free, write_note
from model_store.names import OF_COLLECTION, RUN_CLAIMS, claim_of, started_run_id
from model_store.objects.probe import require_promises
from model_store.objects.protocol import ObjectStore, in_parallel


@dataclass(frozen=True)
class RunNote:
    """The note of a claim: the newest run, its collection, and the newest run that trained something ('' is none)."""

    run_id: str
    collection: str = ""
    trained: str = ""
    ended: bool = True

    @classmethod
    def of(cls, name: str, holder: Holder) -> RunNote:
        """Return the note of the newest number of a claim. An earlier gridline writes none: the run is the claim's."""
        said = holder.note
        if "run_id" not in said:
            return cls(name, trained=name, ended=holder.released)
        run_id, collection, trained = (str(said.get(key, "")) for key in ("run_id", "collection", "trained"))
        return cls(run_id, collection, trained, bool(said.get("ended", True)))

    def to_json(self) -> Note:
        """Return the note as JSON values."""
        return asdict(self)


@dataclass
class Execution:
    """An execution of a job. `is_new` says that it does not continue an earlier one.

    `trained` is the newest earlier run of the job that trained something, or None.
    """

    objects: ObjectStore
    holder: Holder | None
    note: RunNote
    is_new: bool
    trained: str | None
    _claim: Claim | None = None

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.note.run_id

    def require_free(self) -> None:
        """Raise RunClaimedError if a live process had the claim when the execution was looked up."""
        require_free(self.holder, self._what)

    @contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Hold the claim of the job; the run has ended if nothing is raised. Raises RunClaimedError."""
        if self._claim is not None:  # it is held already
            yield self._claim
            return
        self.require_free()
        require_promises(self.objects)
        prefix = claim_prefix(claim_of(self.run_id))
        with Claim(self.objects, prefix, self._what, LEASE_S, self.holder, self.note.to_json()) as claim:
            self._claim = claim
            yield claim
            claim.note = replace(self.note, ended=True).to_json()

    def has_trained(self) -> None:
        """Note that this run has trained something: later runs of the job look for its trials."""
        self.note = replace(self.note, trained=self.run_id)

    @property
    def _what(self) -> str:
        held = RunNote.of(claim_of(self.run_id), self.holder).run_id if self.holder is not None else self.run_id
        return f"run '{held or self.run_id}'"


def look_up(objects: ObjectStore, collection: str, job: str, run_id: str | None = None) -> Execution:
    """Return the execution of a job that would begin now, under `run_id` if that is given; two requests."""
    name = claim_of(run_id or job)
    holder = holder_of(objects, claim_prefix(name))
    last = RunNote("") if holder is None else RunNote.of(name, holder)
    is_new = run_id is None and last.ended
    if run_id is None:
        run_id = started_run_id(job, objects.now(), last.run_id) if is_new else last.run_id
    note = RunNote(run_id, collection, last.trained, ended=False)
    return Execution(objects, holder, note, is_new, last.trained or None)


def holders(objects: ObjectStore, since: float, but: Set[str] = frozenset()) -> dict[str, Holder]:
    """Return the holders of all claims but some, by name, if they wrote or released them after `since`."""
    newest = {info.key.split("/")[1]: info for info in objects.list(RUN_CLAIMS)}
    names = [name for name, info in newest.items() if info.modified_at >= since and name not in but]
    found = in_parallel(lambda name: holder_of(objects, claim_prefix(name)), names)
    return {name: holder for name, holder in zip(names, found, strict=True) if holder is not None}


def notes_of_runs(objects: ObjectStore, since: float) -> list[tuple[RunNote, Holder]]:
    """Return the notes of the claims of runs that were written after `since`, each with its holder."""
    found = holders(objects, since).items()
    return [(RunNote.of(name, holder), holder) for name, holder in found if not name.startswith(OF_COLLECTION)]


def newest_trained(objects: ObjectStore, run_id: str) -> str | None:
    """Return the newest run that trained something among the runs of the job of a run; two requests."""
    name = claim_of(run_id)
    holder = holder_of(objects, claim_prefix(name))
    return None if holder is None else RunNote.of(name, holder).trained or None


def has_own_claim(objects: ObjectStore, run_id: str) -> bool:
    """Return whether the claim that a run needs is of this run alone, and not of the other runs of a job too."""
    holder = holder_of(objects, claim_prefix(run_id)) if claim_of(run_id) == run_id else None
    return claim_of(run_id) == run_id and (holder is None or RunNote.of(run_id, holder).run_id == run_id)


def forget(objects: ObjectStore, run_id: str, before: float) -> bool:
    """Let no later execution of the job continue a run, or look for its trials.

    Return False if one may do so now, or has begun since `before`.
    """
    name = claim_of(run_id)
    holder = holder_of(objects, claim_prefix(name))
    if holder is None:
        return True
    note = RunNote.of(name, holder)
    if run_id not in (note.run_id, note.trained):
        return True
    if holder.is_live or holder.started_at >= before:
        return False
    left = replace(
        note,
        trained="" if note.trained == run_id else note.trained,
        ended=note.ended or note.run_id == run_id,
    )
    return write_note(objects, claim_prefix(name), holder, left.to_json())


def claim_prefix(name: str) -> str:
    """Return the prefix of the numbers of a claim."""
    return f"{RUN_CLAIMS}{name}/"
