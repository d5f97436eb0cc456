"""The earlier runs whose stored trials a job uses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import tee

from model_store.claims.runs import RunFolder
from model_store.ledger.ledger import Ledger
from model_store.names import RUN_MARKS

MAX_RUNS = 16  # that are read: the head of a collection may name a run for every day


class EarlierRuns:
    """The folder of a run, then those of the runs that it used and those that the collection's head names, each once.

    With `read_only` nothing is written to them.
    """

    def __init__(self, ledger: Ledger, collection: str, run_id: str, *, read_only: bool = False) -> None:
        self.own = ledger.run(run_id)
        self.read_only = read_only
        self._ledger = ledger
        self._folders = self._search(collection)

    def __iter__(self) -> Iterator[RunFolder]:
        """Return an iterator over the folders; a run is looked up when the first iterator reaches it, and once."""
        self._folders, folders = tee(self._folders)
        return folders

    def mark_used(self, run_ids: Iterable[str]) -> None:
        """Record whose trials were used: the next run finds them through this run."""
        for run_id in sorted(set(run_ids) - {self.own.run_id}):
            if not self.read_only:
                self.own.create(f"{RUN_MARKS}{run_id}", b"")

    def _search(self, collection: str) -> Iterator[RunFolder]:
        seen: set[str] = set()
        for at_head in (False, True):
            waiting = deque(self._head_runs(collection) if at_head else [self.own.run_id])
            while waiting and len(seen) < MAX_RUNS:
                if (run_id := waiting.popleft()) not in seen:
                    seen.add(run_id)
                    folder = self._ledger.run(run_id)
                    yield folder
                    waiting += (name.removeprefix(RUN_MARKS) for name in folder.names(RUN_MARKS))

    def _head_runs(self, collection: str) -> list[str]:
        head = self._ledger.head(collection)
        if head is None:
            return []
        trained_by = head.table(["run_id"])["run_id"].unique().to_pylist()
        return [run_id for run_id in dict.fromkeys([head.run_id, *trained_by]) if run_id]
