"""A claim: one live process at a time, made of create-if-absent and nothing else.

    <prefix>00000000000000000001.json    who holds it, written when it was taken
    <prefix>00000000000000000002.json    a heartbeat of the holder, and so on

The newest number is the truth. A holder writes the next number every third of its lease; a number that is somebody
else's means that the claim was lost. Whoever wants the claim may write the next number when the newest one says
`released`, is older than the lease by the store's own clock, or names a process of this very machine that is dead.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from dataclasses import dataclass
from types import TracebackType

from .errors import MissingObjectError, RunClaimedError, StoreError
from .names import number_of, numbered
from .objects import ObjectInfo, ObjectStore
from .process_identity import ProcessIdentity, is_dead, this_process

LEASE_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """What the newest number of a claim says."""

    number: int
    token: str
    process: ProcessIdentity
    released: bool
    lease_s: float
    age_s: float

    @property
    def is_live(self) -> bool:
        """Whether the claim is held: not released, not older than its lease, and not that of a process known dead."""
        return not self.released and self.age_s <= self.lease_s and not is_dead(self.process)


def holder_of(objects: ObjectStore, prefix: str) -> Holder | None:
    """Return what the newest number below `prefix` says, or None if there is no number. Two requests."""
    newest: ObjectInfo | None = None
    for info in objects.list(prefix):
        if number_of(info.key) is not None:
            newest = info
    return None if newest is None else _read_holder(objects, newest)


def _read_holder(objects: ObjectStore, info: ObjectInfo) -> Holder:
    number = number_of(info.key) or 0
    age_s = objects.now() - info.modified_at
    try:
        fields = json.loads(objects.read(info.key))
        process = ProcessIdentity(**fields["process"])
        return Holder(number, str(fields["token"]), process, bool(fields["released"]), float(fields["lease_s"]), age_s)
    except MissingObjectError:
        return Holder(number, "", ProcessIdentity(), True, 0.0, age_s)
    except (ValueError, KeyError, TypeError):
        log.warning("%s/%s is not a claim; it counts as held until it is %g s old", objects.uri, info.key, LEASE_S)
        return Holder(number, "", ProcessIdentity(host="an unreadable claim"), False, LEASE_S, age_s)


def take_claim(objects: ObjectStore, prefix: str, what: str, lease_s: float = LEASE_S) -> Claim:
    """Return the claim below `prefix`, with its heartbeat running.

    `what` names it in errors: `run 'nightly'`. Raises RunClaimedError if a live process holds it.
    """
    holder = holder_of(objects, prefix)
    if holder is not None and holder.is_live:
        raise RunClaimedError(
            f"{what} is claimed by a live process: {holder.process}, last seen {max(holder.age_s, 0):.0f} s ago; wait "
            f"for it to end, or {holder.lease_s:.0f} s after it has died"
        )
    claim = Claim(objects, prefix, what, lease_s, 0 if holder is None else holder.number)
    claim.beat()
    claim.start()
    return claim


class Claim:
    """A claim that is held until `release`; as a context manager it is released at the end of the block."""

    def __init__(self, objects: ObjectStore, prefix: str, what: str, lease_s: float, number: int) -> None:
        self._objects = objects
        self._prefix = prefix
        self._what = what
        self._lease_s = lease_s
        self._number = number
        self._mine: list[int] = []
        self._token = uuid.uuid4().hex
        self._stopped = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._keep, name=f"claim of {what}", daemon=True)

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread.start()

    def beat(self, released: bool = False) -> None:
        """Write the next number. Raises RunClaimedError if another process has written it, or a later one."""
        number = self._number + 1
        fields = {"token": self._token, "process": vars(this_process()), "released": released, "lease_s": self._lease_s}
        if not self._objects.create(numbered(self._prefix, number), json.dumps(fields).encode()):
            self._lost = True
            self.check()
        self._number = number
        self._mine.append(number)

    def check(self) -> None:
        """Return if the claim is still ours as far as its heartbeat knows. Raises RunClaimedError if it was lost."""
        if self._lost:
            raise RunClaimedError(
                f"{self._what} was taken over by another process, while this one did not answer: stop it"
            )

    def release(self) -> None:
        """Give the claim back, so that the next process need not wait for the lease to end."""
        self._stopped.set()
        self._thread.join()
        if not self._lost:
            self.beat(released=True)
            self._forget_all_but(1)

    def _keep(self) -> None:
        while not self._stopped.wait(self._lease_s / 3):
            try:
                self.beat()
                self._forget_all_but(2)
            except RunClaimedError:
                return
            except StoreError as exc:
                log.warning("the heartbeat of %s failed, and will be tried again: %s", self._what, exc)

    def _forget_all_but(self, num_kept: int) -> None:
        """Remove old heartbeats of ours; the newest number stays, so that numbers only grow."""
        while len(self._mine) > num_kept:
            self._objects.delete(numbered(self._prefix, self._mine.pop(0)))

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
