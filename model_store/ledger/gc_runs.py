"""What gc removes of runs: the folders that nothing needs any more, and the checkpoints that newer ones replaced.

A run is needed while it runs; while a kept version of any collection names it, as a whole or in a row; and while one
that is needed has taken trials from it (`from/` in its folder). What is not needed goes when nothing was written to it
for a week, in which a killed run can go on. gc holds the claim of a run while it removes it: a driver that starts just
then is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from contextlib import suppress

from model_store.claims.claims import take_claim
from model_store.errors import RunClaimedError
from model_store.ledger.versions import Version
from model_store.names import ARCHIVES_RUN, RUN_CHECKPOINTS, RUN_CLAIMS, RUN_MARKS, RUNS
from model_store.objects.protocol import ObjectInfo, ObjectStore

RUN_GRACE_S = 7 * 24 * 3600.0

Folders = dict[str, list[ObjectInfo]]


def folders_of_runs(objects: ObjectStore) -> Folders:
    """Return what is in the folder of each run, but for that of the archives."""
    folders: Folders = {}
    for info in objects.list(RUNS):
        run_id = info.key.removeprefix(RUNS).partition("/")[0]
        if run_id != ARCHIVES_RUN:
            folders.setdefault(run_id, []).append(info)
    return folders


def runs_of(versions: Iterable[Version]) -> set[str]:
    """Return every run that versions name, those of single champions among them."""
    runs: set[str] = set()
    for version in versions:
        runs |= {version.run_id, *version.table(["run_id"])["run_id"].unique().to_pylist()}
    return {run_id for run_id in runs if run_id}


def unneeded(folders: Folders, needed: Set[str], before: float) -> list[str]:
    """Return the runs that are not needed, nor by one that is, and to which all was written before a time."""
    reached, waiting = set(needed), [*needed]
    while waiting:
        prefix = f"{RUNS}{waiting.pop()}/{RUN_MARKS}"
        run_id = prefix.split("/")[1]
        marks = {info.key.removeprefix(prefix) for info in folders.get(run_id, []) if info.key.startswith(prefix)}
        waiting += marks - reached
        reached |= marks
    return sorted(run_id for run_id in folders.keys() - reached if _is_old(folders[run_id], before))


def remove_run(objects: ObjectStore, run_id: str, before: float) -> bool:
    """Remove the folder of a run, unless somebody works on it, or has since; returns whether it was removed.

    What was written last goes first: it may say that what was written before is all there.
    """
    with suppress(RunClaimedError), take_claim(objects, f"{RUN_CLAIMS}{run_id}/", f"run '{run_id}'") as claim:
        found = list(objects.list(f"{RUNS}{run_id}/"))
        if not _is_old(found, before):
            return False
        for info in sorted(found, key=lambda info: (info.modified_at, info.key), reverse=True):
            claim.check()
            objects.delete(info.key)
        return True
    return False


def replaced_checkpoints(folders: Folders, live: Set[str]) -> Iterator[ObjectInfo]:
    """Yield the checkpoints that a run at rest has newer ones of: the highest number is the one it goes on from."""
    for run_id in folders.keys() - live:
        newest: dict[str, ObjectInfo] = {}
        for info in folders[run_id]:
            if info.key.startswith(f"{RUNS}{run_id}/{RUN_CHECKPOINTS}"):
                name = info.key.rpartition("/")[0]
                if name in newest:
                    yield newest[name]
                newest[name] = info


def _is_old(infos: Iterable[ObjectInfo], before: float) -> bool:
    return all(info.modified_at < before for info in infos)
