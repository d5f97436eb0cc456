"""How gc removes the folders of runs that nothing needs, and training checkpoints that have newer ones.

A run is needed while it works; while a kept version of any collection names it, as a whole or in a row; and while a
needed run has taken trials from it (`from/` in its folder). The folder of another run is removed if nothing was written
to it for a week, in which a killed run can continue. gc holds the claim of the run meanwhile, so a driver that starts
then gets the message that the run is claimed.
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
    """Return the objects in the folder of each run, except the folder of the archives."""
    folders: Folders = {}
    for info in objects.list(RUNS):
        run_id = info.key.removeprefix(RUNS).partition("/")[0]
        if run_id != ARCHIVES_RUN:
            folders.setdefault(run_id, []).append(info)
    return folders


def runs_of(versions: Iterable[Version]) -> set[str]:
    """Return every run that the versions, or the rows of their champion tables, name."""
    runs: set[str] = set()
    for version in versions:
        runs |= {version.run_id, *version.table(["run_id"])["run_id"].unique().to_pylist()}
    return {run_id for run_id in runs if run_id}


def unneeded(folders: Folders, needed: Set[str], before: float) -> list[str]:
    """Return the runs that neither `needed` nor a run reached from it needs, and that are older than `before`."""
    reached, waiting = set(needed), [*needed]
    while waiting:
        prefix = f"{RUNS}{waiting.pop()}/{RUN_MARKS}"
        run_id = prefix.split("/")[1]
        marks = {info.key.removeprefix(prefix) for info in folders.get(run_id, []) if info.key.startswith(prefix)}
        waiting += marks - reached
        reached |= marks
    return sorted(run_id for run_id in folders.keys() - reached if _is_old(folders[run_id], before))


def remove_run(objects: ObjectStore, run_id: str, before: float) -> bool:
    """Remove the folder of a run, unless a process works on it, or has since `before`; return whether it was removed.

    The newest objects are deleted first, because a newer one may state that older ones exist.
    """
    with suppress(RunClaimedError), take_claim(objects, f"{RUN_CLAIMS}{run_id}/", f"run '{run_id}'") as claim:
        infos = list(objects.list(f"{RUNS}{run_id}/"))
        if not _is_old(infos, before):
            return False
        for info in sorted(infos, key=lambda info: (info.modified_at, info.key), reverse=True):
            claim.check()
            objects.delete(info.key)
        return True
    return False


def replaced_checkpoints(folders: Folders, live: Set[str]) -> Iterator[ObjectInfo]:
    """Yield the training checkpoints of inactive runs, except the newest, from which a run continues."""
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
