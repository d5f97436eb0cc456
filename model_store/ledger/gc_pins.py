"""Pins: how gc and a commit notice each other, although S3 has neither locks nor conditional deletes.

A commit pins each blob that it names and has not just stored itself, and then looks for a running gc. gc first
announces itself, and then looks for pins. So at least one of the two sees the other: either gc does not remove the
blob, or the commit waits until gc has ended, and checks that the blob exists before it creates the version.
A blob that the committing process stored within FRESH_S needs no pin: gc removes only blobs of twice that age.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Set

from model_store.claims.claims import LEASE_S, holder_of
from model_store.errors import CorruptObjectError, MissingObjectError, StoreError
from model_store.names import BLOBS, GC_CLAIM, GC_PINS
from model_store.objects.blobs import BlobRef
from model_store.objects.protocol import ObjectStore, stat_many

FRESH_S = 300.0
PIN_S = 3600.0
LONGEST_GC_S = 900.0
POLL_S = 0.2
CLOCK_MARGIN_S = 5.0


def secure_blobs(objects: ObjectStore, named: Set[BlobRef], written: Set[BlobRef], written_s: float) -> None:
    """Wait until all new blobs of a commit are in the store, and gc can't remove them before the commit.

    `written` are the blobs that this process has stored within the last `written_s` seconds, at most FRESH_S.
    Raises MissingObjectError for a blob that is gone.
    """
    if foreign := named - written:
        pin = json.dumps({"blobs": sorted(ref.key for ref in named)}).encode()
        objects.create(f"{GC_PINS}{uuid.uuid4().hex}.json", pin)
    may_be_gone = named if _wait_for_gc(objects, written_s) else foreign
    _require(objects, may_be_gone)


def pinned_keys(objects: ObjectStore) -> set[str]:
    """Return the keys of all blobs that unfinished commits have pinned. Raises CorruptObjectError for a bad pin."""
    recent = [info for info in objects.list(GC_PINS) if objects.now() - info.modified_at <= PIN_S]
    return {key for info in recent for key in _read_pin(objects, info.key)}


def forget_old_pins(objects: ObjectStore) -> None:
    """Remove the pins of commits that ended long ago."""
    for info in list(objects.list(GC_PINS)):
        if objects.now() - info.modified_at > PIN_S:
            objects.delete(info.key)


def _read_pin(objects: ObjectStore, key: str) -> list[str]:
    try:
        return [str(blob) for blob in json.loads(objects.read(key))["blobs"]]
    except (ValueError, KeyError, TypeError) as exc:
        reason = f"it is not a pin ({exc}), so gc can't tell what to spare; it counts for {PIN_S / 3600:g} h"
        raise CorruptObjectError(f"{objects.uri}/{key}", reason) from exc


def _wait_for_gc(objects: ObjectStore, written_s: float) -> bool:
    """Wait until no gc runs; return whether a gc may have run since the blobs were stored."""
    deadline = time.monotonic() + LONGEST_GC_S
    ran = False
    while True:
        beats = list(objects.list(GC_CLAIM))
        age_s = objects.now() - beats[-1].modified_at if beats else float("inf")
        ran = ran or age_s < written_s + CLOCK_MARGIN_S
        if age_s > LEASE_S:
            return ran
        holder = holder_of(objects, GC_CLAIM)
        if holder is None or not holder.is_live:
            return ran
        ran = True
        if time.monotonic() > deadline:
            raise StoreError(
                f"gc has been running in {objects.uri} for {LONGEST_GC_S:.0f} s: run again when it has ended"
            )
        time.sleep(POLL_S)


def _require(objects: ObjectStore, refs: Iterable[BlobRef]) -> None:
    for key, info in stat_many(objects, BLOBS, {ref.key for ref in refs}).items():
        if info is None:
            raise MissingObjectError(objects.uri, key)
