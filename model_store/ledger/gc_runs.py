"""How gc removes the folders of runs that nothing needs, and training checkpoints that have newer ones.

A run is needed while it works; while a kept version of any collection names it, as a whole or in a row; while it is the
newest of a job that was executed within a week, or its newest that trained something; and while a needed run has taken
trials from it (`from/` in its folder). The folder of another run is removed if nothing was written to it for a week, in
which a killed run can continue. Before that, gc sees to it that no execution of the job continues the run or looks for
its trials. If a user gave the run its id, gc holds its claim meanwhile, so a driver that starts then gets the message
that the run is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from contextlib import ExitStack, suppress

from model_store.claims.claims import take_claim
from model_store.claims.executions import claim_prefix, forget, has_own_claim, notes_of_runs
from model_store.errors import RunClaimedError
from model_store.ledger.versions import Version
from model_store.names import ARCHIVES_RUN, RUN_CHECKPOINTS, RUN_MARKS, RUNS
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


def runs_of_jobs(objects: ObjectStore, since: float) -> set[str]:
    """Return the runs that the next executions continue, or take trials from, of the jobs executed after `since`."""
    return {run_id for note, _ in notes_of_runs(objects, since) for run_id in (note.run_id, note.trained)} - {""}


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
    with suppress(RunClaimedError), ExitStack() as held:
        claim = held.enter_context(take_claim(objects, *_claim(run_id))) if has_own_claim(objects, run_id) else None
        if claim is None and not forget(objects, run_id, before):
            return False
        infos = list(objects.list(f"{RUNS}{run_id}/"))
        if not _is_old(infos, before):
            return False
        for info in sorted(infos, key=lambda info: (info.modified_at, info.key), reverse=True):
            if claim is not None:
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


def _claim(run_id: str) -> tuple[str, str]:
    return claim_prefix(run_id), f"run '{run_id}'"


def _is_old(infos: Iterable[ObjectInfo], before: float) -> bool:
    return all(info.modified_at < before for info in infos)
