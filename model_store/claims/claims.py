"""A claim is held by one live process at a time. It needs only create-if-absent.

    <prefix>00000000000000000001.json    the holder, written when it takes the claim
    <prefix>00000000000000000002.json    a heartbeat of the holder, and so on

The newest number is valid. The holder writes the next number every third of its lease; if another process has written
it, the holder has lost the claim. Another process may write the next number if the newest one says `released`, is older
than the lease by the store's clock, or names a dead process of the same machine. Each number also has a note, which
says what the holder works on (see executions.py); the next holder reads it.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from model_store.claims.process_identity import ProcessIdentity, is_dead, this_process
from model_store.errors import CorruptObjectError, MissingObjectError, RunClaimedError, StoreError
from model_store.names import number_of, numbered
from model_store.objects.protocol import ObjectStore
from model_store.objects.retry import within

LEASE_S = 60.0
LONGEST_LEASE_S = 600.0
CLOCK_MARGIN_S = 2.0  # times of S3 may be whole seconds: another process waits this much longer than the lease

RELEASE_S = 5.0  # for how long a job that fails tries to release its claim

log = logging.getLogger(__name__)

Note = Mapping[str, Any]
UNKNOWN: Note = {"run_id": ""}  # of a claim that can't be read


@dataclass(frozen=True)
class Holder:
    """The content of the newest number of a claim. `older` are the other numbers that are still stored."""

    number: int
    process: ProcessIdentity
    released: bool
    lease_s: float
    started_at: float
    age_s: float
    token: str
    note: Note
    older: tuple[int, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether the claim is held: not released, within its lease, and its process is not known to be dead."""
        return not self.released and self.age_s <= self.lease_s + CLOCK_MARGIN_S and not is_dead(self.process)


def holder_of(objects: ObjectStore, prefix: str, after: str = "") -> Holder | None:
    """Return the holder in the newest number below `prefix`, or None if no number is after the key `after`.

    Two requests.
    """
    infos = {number: info for info in objects.list(prefix, after) if (number := number_of(info.key)) is not None}
    if not infos:
        return None
    *older, number = infos
    info = infos[number]
    age_s = objects.now() - info.modified_at
    try:
        fields = json.loads(objects.read(info.key))
        process = ProcessIdentity(**fields["process"])
        released, lease_s = bool(fields["released"]), float(fields["lease_s"])
        token, note = str(fields["token"]), dict(fields.get("note", {}))  # an earlier gridline writes none
        started_at = float(fields["started_at"])
        return Holder(number, process, released, lease_s, started_at, age_s, token, note, tuple(older))
    except MissingObjectError:  # after the listing, the holder has written newer numbers and removed this one
        newer = holder_of(objects, prefix, info.key)
        if newer is None:
            name = f"{objects.uri}/{info.key}"
            raise CorruptObjectError(name, "it was listed, and is gone without a newer number") from None
        return newer
    except (ValueError, KeyError, TypeError):
        log.warning("%s/%s is not a claim; it counts as held until it is %g s old", objects.uri, info.key, LEASE_S)
        process = ProcessIdentity(host="an unreadable claim")
        return Holder(number, process, False, LEASE_S, info.modified_at, age_s, "", UNKNOWN, tuple(older))


def take_claim(objects: ObjectStore, prefix: str, what: str, lease_s: float = LEASE_S) -> Claim:
    """Take the claim below `prefix`, start its heartbeat, and return it; its note is that of the last holder.

    Errors name it `what`, such as `run 'nightly'`. `lease_s` is at most LONGEST_LEASE_S. Raises RunClaimedError if a
    live process holds it.
    """
    holder = holder_of(objects, prefix)
    require_free(holder, what)
    return Claim(objects, prefix, what, lease_s, holder, {} if holder is None else holder.note)


def require_free(holder: Holder | None, what: str) -> None:
    """Raise RunClaimedError if the holder of the claim lives."""
    if holder is not None and holder.is_live:
        raise RunClaimedError(
            f"{what} is claimed by a live process: {holder.process}, last seen {max(holder.age_s, 0):.0f} s ago; wait "
            f"for it to end, or {holder.lease_s:.0f} s after it has died"
        )


def write_note(objects: ObjectStore, prefix: str, holder: Holder, note: Note) -> bool:
    """Give a claim that nobody holds another note; return False if another process has written a number meanwhile."""
    released = replace(holder, released=True, note=note)
    return objects.create(numbered(prefix, holder.number + 1), _number_json(released))


def _number_json(holder: Holder) -> bytes:
    names = ("token", "released", "lease_s", "started_at")
    fields = {name: getattr(holder, name) for name in names}
    return json.dumps(fields | {"process": asdict(holder.process), "note": dict(holder.note)}).encode()


class Claim:
    """A claim that is taken at once and kept by a heartbeat until `release`, or the end of a `with` block.

    `last` is its last holder, as it was seen. Raises RunClaimedError if another process was faster.
    """

    def __init__(
        self, objects: ObjectStore, prefix: str, what: str, lease_s: float, last: Holder | None, note: Note
    ) -> None:
        self.note = note
        self._objects = objects
        self._prefix = prefix
        self._what = what
        self._lease_s = min(lease_s, LONGEST_LEASE_S)
        self._number = 0 if last is None else last.number
        self._numbers = [] if last is None else [*last.older, last.number]
        self._token = uuid.uuid4().hex
        self._stopped = threading.Event()
        self._beating = threading.Lock()
        self._lost = False
        self._started_at = objects.now()
        self._beaten_at = time.monotonic()
        if not self._write(released=False):
            raise RunClaimedError(f"{what} was just claimed by another process: wait for it to end")
        self._thread = threading.Thread(target=self._keep, name=f"claim of {what}", daemon=True)
        self._thread.start()

    def _write(self, released: bool) -> bool:
        """Write the next number; return False if another process has written it, or a later one."""
        number = self._number + 1
        holder = Holder(number, this_process(), released, self._lease_s, self._started_at, 0.0, self._token, self.note)
        if not self._objects.create(numbered(self._prefix, number), _number_json(holder)):
            return False
        self._number = number
        self._numbers.append(number)
        return True

    def check(self) -> None:
        """Raise RunClaimedError if this process has lost the claim, or its last heartbeat is older than the lease."""
        if self._lost or self._is_stale:
            raise RunClaimedError(
                f"{self._what} was taken over by another process, while this one did not answer: stop it"
            )

    def renew(self) -> None:
        """As `check`, but after an outage of the store, in which no heartbeat came through, another one finds out.

        Not for gc: writers that have seen its lease end rely on that it removes nothing more. Raises StoreError.
        """
        if self._is_stale and not self._lost:
            self._beat()
        self.check()

    @property
    def _is_stale(self) -> bool:
        return time.monotonic() - self._beaten_at > self._lease_s

    def release(self) -> None:
        """Release the claim, so that the next process need not wait for the end of the lease."""
        self._stopped.set()
        self._thread.join()
        if not self._lost and self._write(released=True):
            self._forget_all_but(1)

    def _keep(self) -> None:
        while not self._lost and not self._stopped.wait(self._lease_s / 3):
            try:
                with within(self._lease_s / 3):
                    self._beat()
            except StoreError as exc:
                log.warning("the heartbeat of %s failed, and will be tried again: %s", self._what, exc)

    def _beat(self) -> None:
        """Write the next number, or note that the claim is lost."""
        with self._beating:
            began_at = time.monotonic()
            if self._lost or not self._write(released=False) or not self._is_newest():
                self._lost = True
                return
            self._beaten_at = began_at
            self._forget_all_but(2)

    def _is_newest(self) -> bool:
        """Return whether no higher number exists: another process may have taken the claim and removed our number."""
        return not any(self._objects.list(self._prefix, after=numbered(self._prefix, self._number), limit=1))

    def _forget_all_but(self, num_kept: int) -> None:
        """Remove old heartbeats, of earlier holders too; the newest number stays, so that numbers only grow."""
        while len(self._numbers) > num_kept:
            self._objects.delete(numbered(self._prefix, self._numbers.pop(0)))

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            with within(math.inf if kind is None else RELEASE_S):  # a store that is away is not waited for twice
                self.release()
        except StoreError as exc:
            log.warning("%s could not be released, and frees itself when its lease ends: %s", self._what, exc)
