"""gc: remove blobs that no kept version, running run or unfinished commit names, and the folders of old runs.

gc removes no version file, however old: a number is never free again, so a writer that was suspended for an hour can't
create an old number below the head. gc may run beside jobs (see gc_pins.py), and may be stopped at any moment.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

from model_store.claims.claims import LONGEST_LEASE_S, Claim, Holder, take_claim
from model_store.claims.executions import notes_of_runs
from model_store.errors import InvalidNameError, StoreFullError
from model_store.ledger.gc_kept import blobs_left, kept_versions, withdrawn_shards
from model_store.ledger.gc_pins import FRESH_S, forget_old_pins, pinned_keys
from model_store.ledger.gc_runs import (
    RUN_GRACE_S,
    folders_of_runs,
    remove_run,
    replaced_checkpoints,
    runs_of,
    runs_of_jobs,
    unneeded,
)
from model_store.ledger.history import History
from model_store.names import BLOBS, GC_CLAIM, RUNS
from model_store.objects.protocol import ObjectInfo, ObjectStore, in_parallel
from model_store.objects.reserve import NUM_OBJECTS, OBJECT_BYTES, keep_reserve, use_reserve

DROPPED_GRACE_S = 2 * FRESH_S
ORPHAN_GRACE_S = 24 * 3600.0
SHARED_CLOCK_MARGIN_S = 2.0  # times of S3 have whole seconds
LOCAL_CLOCK_MARGIN_S = 0.05  # times of files have the kernel's ticks
SHA256 = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True)
class GcReport:
    """The objects that gc removed, or would remove with `dry_run`. `num_young` unnamed blobs are too young.

    `removed` are blobs, `removed_runs` runs whose folders were removed; `num_checkpoints` counts training checkpoints.
    `unreadable` are other collections with damaged versions: nobody knows what these name, so only blobs of dropped
    versions were removed.
    """

    collection: str
    oldest_kept: int
    newest: int
    removed: tuple[str, ...]
    removed_bytes: int
    num_kept: int
    num_young: int
    live_runs: tuple[str, ...]
    dry_run: bool
    removed_runs: tuple[str, ...] = ()
    num_checkpoints: int = 0
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Spared:
    """The blobs that stay: named blobs, blobs whose sha256 a live run mentions, and young blobs."""

    keys: frozenset[str]
    digests: frozenset[str]
    dropped: frozenset[str]
    live_since: float
    dropped_grace_s: float
    orphan_grace_s: float
    unreadable: tuple[str, ...]

    def is_named(self, info: ObjectInfo) -> bool:
        return info.key in self.keys or info.key.removeprefix(BLOBS).partition(".")[0] in self.digests

    def is_young(self, info: ObjectInfo, now: float) -> bool:
        if self.unreadable and info.key not in self.dropped:
            return True  # a damaged version may name it
        grace_s = self.dropped_grace_s if info.key in self.dropped else self.orphan_grace_s
        return now - info.modified_at < grace_s or info.modified_at >= self.live_since


def collect(
    objects: ObjectStore, collection: str, keep: int, dry_run: bool = False, grace_s: float | None = None
) -> GcReport:
    """Keep the newest `keep` versions of a collection whole, and remove the blobs that nothing needs any more.

    A blob of a dropped version is removed when it is 10 minutes old; a blob that was never committed after a day, in
    which a killed run can continue; the folder of a run after a week. `grace_s` replaces all three ages; 0 is safe
    beside claimed runs and readers, not beside writers that claim nothing.
    Raises RunClaimedError while another gc runs, UnknownCollectionError, and InvalidNameError for `keep` < 1.
    """
    if keep < 1:
        raise InvalidNameError(f"keep={keep}: the newest version is always kept, so give 1 or more")
    with contextlib.ExitStack() as stack:
        claim = None if dry_run else _claimed(objects)
        if claim is not None:
            stack.callback(keep_reserve, objects)  # after the release of the claim, which needs room too
            stack.enter_context(claim)
        history = History(objects, collection)
        newest = history.read().number
        before = history.oldest_kept()
        oldest = max(before, newest - keep + 1)
        if claim is not None:
            if oldest > before:
                history.keep_from(oldest)
            forget_old_pins(objects)
        live = dict(_live_runs(objects))
        spared = _spared(objects, collection, range(before, oldest), oldest, live, grace_s)
        swept = _sweep(objects, spared, claim)
        before_s = min(objects.now() - (RUN_GRACE_S if grace_s is None else grace_s), spared.live_since)
        if spared.unreadable:
            before_s = -float("inf")  # of runs that a damaged version may name
        of_runs = _sweep_runs(objects, collection, oldest, live.keys(), before_s, claim)
        return GcReport(collection, oldest, newest, *swept, tuple(sorted(live)), dry_run, *of_runs, spared.unreadable)


def _claimed(objects: ObjectStore) -> Claim:
    """Take the claim of gc; where there is no room to write it, free the reserve first, and what is never read again.

    That needs no claim: no commit names pins of commits that have ended, or training checkpoints with newer ones.
    """
    what = f"gc of {objects.uri}"
    try:
        return take_claim(objects, GC_CLAIM, what)
    except StoreFullError:
        use_reserve(objects)
        forget_old_pins(objects)
        for info in list(replaced_checkpoints(folders_of_runs(objects), dict(_live_runs(objects)).keys())):
            objects.delete(info.key)
    try:
        return take_claim(objects, GC_CLAIM, what)
    except StoreFullError as exc:
        need = NUM_OBJECTS * OBJECT_BYTES // 1024
        cause = f"{exc.fact}, and gc has no room for its notes: free {need} KiB there by hand, then run it again"
        raise StoreFullError(exc.bucket, exc.key, exc.fact, cause) from exc


def _sweep_runs(
    objects: ObjectStore, collection: str, oldest: int, live: Set[str], before: float, claim: Claim | None
) -> tuple[tuple[str, ...], int]:
    """Return the runs whose folders were removed, and the number of checkpoints removed from others."""
    folders = folders_of_runs(objects)
    old = unneeded(folders, live, before)
    if old:  # only then are the versions read for the runs that they name
        versions, _ = kept_versions(objects, collection, oldest)
        old = unneeded(folders, live | runs_of(versions) | runs_of_jobs(objects, before), before)
    replaced = list(replaced_checkpoints({run: folders[run] for run in folders.keys() - set(old)}, live))
    if claim is None:
        return tuple(old), len(replaced)
    for info in replaced:
        _remove(objects, info, claim)
    return tuple(run_id for run_id in old if remove_run(objects, run_id, before)), len(replaced)


def _sweep(objects: ObjectStore, spared: _Spared, claim: Claim | None) -> tuple[tuple[str, ...], int, int, int]:
    """Return the removed keys, their bytes, and the numbers of named and of young blobs."""
    stored = list(objects.list(BLOBS))
    now = objects.now()
    unnamed = [info for info in stored if not spared.is_named(info)]
    removed = [info for info in unnamed if not spared.is_young(info, now)]
    if claim is not None:
        in_parallel(lambda info: _remove(objects, info, claim), removed)
    num_bytes = sum(info.size_bytes for info in removed)
    return tuple(info.key for info in removed), num_bytes, len(stored) - len(unnamed), len(unnamed) - len(removed)


def _remove(objects: ObjectStore, info: ObjectInfo, claim: Claim) -> None:
    claim.check()
    objects.delete(info.key)


def _spared(
    objects: ObjectStore, collection: str, dropped: range, oldest: int, live: dict[str, Holder], grace_s: float | None
) -> _Spared:
    started_at = objects.now()
    keys: set[str] = pinned_keys(objects)
    withdrawn: set[tuple[str, int]] = set()
    versions, unreadable = kept_versions(objects, collection, oldest)
    for version in versions:
        keys |= {ref.key for ref in version.blobs()}
        withdrawn |= {(version.collection, number) for each in version.withdrawals for number in each.all_versions}
    keys |= withdrawn_shards(objects, withdrawn)
    history = History(objects, collection)
    lost = set(history.read().lost)
    of_dropped = (history.read(number) for number in dropped if number not in lost)
    dropped_keys = {ref.key for version in of_dropped for ref in blobs_left(version)}
    return _Spared(
        keys=frozenset(keys),
        digests=frozenset(digest for run_id in live for digest in _mentioned(objects, run_id)),
        dropped=frozenset(dropped_keys),
        live_since=min([started_at, *(holder.started_at for holder in live.values())])
        - (SHARED_CLOCK_MARGIN_S if objects.is_shared else LOCAL_CLOCK_MARGIN_S),
        dropped_grace_s=DROPPED_GRACE_S if grace_s is None else grace_s,
        orphan_grace_s=ORPHAN_GRACE_S if grace_s is None else grace_s,
        unreadable=tuple(unreadable),
    )


def _live_runs(objects: ObjectStore) -> Iterator[tuple[str, Holder]]:
    for note, holder in notes_of_runs(objects, objects.now() - 2 * LONGEST_LEASE_S):
        if holder.is_live:
            yield note.run_id, holder


def _mentioned(objects: ObjectStore, run_id: str) -> Iterator[str]:
    """Yield every sha256 in the objects of a live run's folder: the blobs that it will commit."""
    for info in list(objects.list(f"{RUNS}{run_id}/")):
        yield from (digest.decode() for digest in SHA256.findall(objects.read(info.key)))
