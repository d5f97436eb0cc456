"""The runs in whose folders a job looks for what was trained before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from model_store.claims.runs import RunFolder
from model_store.ledger.ledger import Ledger
from model_store.names import RUN_MARKS

MAX_RUNS = 16  # that are looked through: the head of a collection may name a run for every day


class EarlierRuns:
    """The folder of a run, then those of the runs that it used and those that the collection's head names, each once.

    With `read_only` nothing is written to them.
    """

    def __init__(self, ledger: Ledger, collection: str, run_id: str, *, read_only: bool = False) -> None:
        self.own = ledger.run(run_id)
        self.read_only = read_only
        self._ledger = ledger
        self._found: list[RunFolder] = []
        self._rest = self._search(collection)

    def __iter__(self) -> Iterator[RunFolder]:
        """Yield the folders; a run is looked up when it is asked for, and once."""
        at = 0
        while at < len(self._found) or self._find_next():
            yield self._found[at]
            at += 1

    def mark_used(self, run_ids: Iterable[str]) -> None:
        """Note whose trials were used: the next run finds them by way of this one."""
        for run_id in sorted(set(run_ids) - {self.own.run_id}):
            if not self.read_only:
                self.own.create(f"{RUN_MARKS}{run_id}", b"")

    def _find_next(self) -> bool:
        folder = next(self._rest, None)
        if folder is not None:
            self._found.append(folder)
        return folder is not None

    def _search(self, collection: str) -> Iterator[RunFolder]:
        seen: set[str] = set()
        waiting = [self.own.run_id]
        asked_head = False
        while (waiting or not asked_head) and len(seen) < MAX_RUNS:
            if not waiting:
                asked_head = True
                waiting = [run_id for run_id in self._head_runs(collection) if run_id not in seen]
                continue
            run_id = waiting.pop(0)
            seen.add(run_id)
            folder = self._ledger.run(run_id)
            yield folder
            marks = (name.removeprefix(RUN_MARKS) for name in folder.names(RUN_MARKS))
            waiting += [mark for mark in marks if mark not in seen and mark not in waiting]

    def _head_runs(self, collection: str) -> list[str]:
        head = self._ledger.head(collection)
        if head is None:
            return []
        trained_by = head.table(["run_id"])["run_id"].unique().to_pylist()
        return [run_id for run_id in dict.fromkeys([head.run_id, *trained_by]) if run_id]
