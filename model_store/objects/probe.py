"""Probe whether a storage has the properties that the ledger needs, before the first write; the store has the result.

The properties: create-if-absent holds for writers one after the other and for several at once, a written object is
read and listed at once, and the clocks agree. A storage that fails only sometimes can pass; docs/reliability.md lists
known ones.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from model_store.errors import MissingObjectError, StoreProbeError, StoreUnreachableError
from model_store.names import PROBES
from model_store.objects.protocol import ObjectStore, stat
from model_store.objects.reserve import keep_reserve
from model_store.objects.retry import within

FORMAT = 1
ROUNDS = 2
WRITERS = 6
CLOCK_WARNING_S = 60.0
CLEAN_S = 2.0  # how long the object of a probe is tried to be removed

log = logging.getLogger(__name__)
_passed: set[str] = set()


def require_promises(objects: ObjectStore) -> None:
    """Return if the storage has the properties; look once in a process, and probe once in the life of a store.

    Raises StoreProbeError with the property that it lacks.
    """
    if objects.identity in _passed:
        return
    marker = f"{PROBES}{hashlib.sha256(objects.identity.encode()).hexdigest()[:32]}.json"
    if not _is_remembered(objects, marker):
        _probe(objects)
        objects.create(marker, json.dumps({"format": FORMAT, "identity": objects.identity}).encode())
        keep_reserve(objects)
    _passed.add(objects.identity)


def _is_remembered(objects: ObjectStore, marker: str) -> bool:
    try:
        return bool(json.loads(objects.read(marker))["format"] == FORMAT)
    except (MissingObjectError, ValueError, KeyError, TypeError):
        return False


def _probe(objects: ObjectStore) -> None:
    _probe_one_after_the_other(objects)
    if objects.is_shared:
        with ThreadPoolExecutor(WRITERS) as pool:
            for _ in range(ROUNDS):
                _probe_at_once(objects, pool)


def _probe_one_after_the_other(objects: ObjectStore) -> None:
    key = f"{PROBES}{uuid.uuid4().hex}"
    try:
        first_is_new = objects.create(key, b"first")
        second_is_new = objects.create(key, b"second")
        if not first_is_new or second_is_new or objects.read(key) != b"first":
            raise StoreProbeError(
                f"{objects.uri} ignores the condition of a conditional write (If-None-Match: *), so two jobs that "
                "commit at once would lose one commit: use AWS S3, Ceph, MinIO or a folder"
            )
        info = stat(objects, key)
        if info is None:
            raise StoreProbeError(
                f"{objects.uri} does not list an object that it has just stored, so a job could miss a commit: use a "
                "storage with read-after-write consistency"
            )
        off_s = time.time() - info.modified_at
        if abs(off_s) > CLOCK_WARNING_S:
            log.warning("the clock of this machine is %.0f s ahead of that of %s: set it", off_s, objects.uri)
    finally:
        with within(CLEAN_S), suppress(StoreUnreachableError):
            objects.delete(key)


def _probe_at_once(objects: ObjectStore, pool: ThreadPoolExecutor) -> None:
    key = f"{PROBES}{uuid.uuid4().hex}"
    try:
        winners = sum(pool.map(lambda writer: objects.create(key, str(writer).encode()), range(WRITERS)))
        if winners != 1:
            raise StoreProbeError(
                f"{objects.uri} let {winners} of {WRITERS} writers create one object, so two jobs that commit at once "
                "would lose one commit: use AWS S3, Ceph, MinIO or a folder"
            )
    finally:
        with within(CLEAN_S), suppress(StoreUnreachableError):
            objects.delete(key)
