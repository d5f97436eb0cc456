"""The earlier runs whose stored trials a job uses."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import tee

from jobs.trials.spool import TAKES_NOTHING, Spool
from model_store.claims.executions import Execution, newest_trained
from model_store.claims.runs import RunFolder
from model_store.errors import StoreError
from model_store.ledger.ledger import Ledger
from model_store.names import RUN_MARKS, claim_of
from model_store.objects.retry import within

logger = logging.getLogger(__name__)

MAX_RUNS = 16  # that are read: the head of a collection may name a run for every day
TRY_AGAIN_S = 30.0  # a store that takes nothing is tried again so often,
SHORT_S = 1.0  # each call for so long: the cluster waits meanwhile
MAX_USED = 8  # that the next run must read, because this one has not copied their trials


class EarlierRuns:
    """The folder of a run, that of the run of the same job that trained last, then those of the runs that these used,
    and those that the collection's head names with the newest ones of their jobs, each once.

    With `read_only` nothing is written to them. With a spool, what the store does not take is kept there, and `settle`
    stores it; what an earlier run kept is stored now, and found.
    """

    def __init__(
        self, ledger: Ledger, execution: Execution, spool: Spool | None = None, *, read_only: bool = False
    ) -> None:
        self.own = ledger.run(execution.run_id)
        self.read_only = read_only
        self._ledger = ledger
        self._used: list[str] = []
        self._num_marked = 0
        self._copies: list[tuple[str, Callable[[], bytes]]] = []
        before = [execution.trained] if execution.trained else []
        self.of_job = [ledger.run(run_id) for run_id in dict.fromkeys([execution.run_id, *before])]
        self._first = before if execution.is_new else [folder.run_id for folder in self.of_job]  # a new one is empty
        self._spool, self._tried_at = spool, 0.0
        self._refusal: StoreError | None = None  # the store takes nothing
        self.spooled = [] if spool is None else spool.store()
        self._first = [*self._first, *self.spooled]
        self._folders = self._search(execution.note.collection)

    def __iter__(self) -> Iterator[RunFolder]:
        """Return an iterator over the folders; a run is looked up when the first iterator reaches it, and once."""
        self._folders, folders = tee(self._folders)
        return folders

    def use(self, run_ids: Iterable[str]) -> set[str]:
        """Remember whose trials are used: the next run finds them through this run, if it stores something.

        Return the runs that are too many: their trials are to be copied. The first ones stay.
        """
        others = [run_id for run_id in run_ids if run_id != self.own.run_id and run_id not in self._used]
        self._used += others[: max(0, MAX_USED - len(self._used))]
        return set(others) - set(self._used)

    def copy(self, name: str, data: Callable[[], bytes]) -> None:
        """Store an object from earlier runs, if this run stores something."""
        self._copies.append((name, data))

    def create(self, name: str, data: bytes) -> None:
        """Store an object of the run, unless that is read-only, after what it takes from other runs."""
        if self.read_only:
            return
        if self._refusal is None or time.monotonic() - self._tried_at >= TRY_AGAIN_S:
            try:
                with within(math.inf if self._refusal is None else SHORT_S):
                    self.settle()
                    self._store(name, data)
                return
            except TAKES_NOTHING as exc:
                self._take_to_spool(exc)
        assert self._spool is not None and self._refusal is not None  # noqa: S101 - else the error was raised
        self._spool.keep(self.own.run_id, name, data, self._refusal)

    def settle(self) -> None:
        """Store what is kept in the spool. Raises StoreError if the store still takes nothing."""
        if self._refusal is not None and self._spool is not None:
            self._store_used()
            self._spool.store()
            logger.warning("%s takes objects again", self._ledger.uri)
            self._refusal = None

    def _store(self, name: str, data: bytes) -> None:
        self._store_used()
        if not self.own.create(name, data):
            logger.warning("run '%s' has %s with other content, which stays", self.own.run_id, name)

    def _take_to_spool(self, error: StoreError) -> None:
        """From now on keep objects in the spool, with a look at the store now and then. Raises `error` without one."""
        if self._spool is None:
            raise error
        if self._refusal is None:
            logger.warning("%s; what is trained meanwhile is kept in %s", error, self._spool.folder)
        self._refusal, self._tried_at = error, time.monotonic()

    def _store_used(self) -> None:
        """Store the marks of the runs that were used, which gc and the next run read, and the copies."""
        for run_id in self._used[self._num_marked :]:
            self.own.create(f"{RUN_MARKS}{run_id}", b"")
            self._num_marked += 1
        while self._copies:
            name, data = self._copies[-1]
            self.own.create(name, data())
            self._copies.pop()

    def _search(self, collection: str) -> Iterator[RunFolder]:
        seen: set[str] = set()
        for first in (iter(self._first), self._head_runs(collection)):
            marks = deque[str]()
            while len(seen) < MAX_RUNS and (run_id := next(first, None) or (marks and marks.popleft())):
                if run_id not in seen:
                    seen.add(run_id)
                    folder = self._ledger.run(run_id)
                    yield folder
                    marks += (name.removeprefix(RUN_MARKS) for name in folder.names(RUN_MARKS))

    def _head_runs(self, collection: str) -> Iterator[str]:
        """Yield the runs that the head names; before the first of each job, the one of the job that trained last."""
        head = self._ledger.head(collection)
        trained_by = [] if head is None else [head.run_id, *head.table(["run_id"])["run_id"].unique().to_pylist()]
        jobs: set[str] = set()
        for run_id in filter(None, dict.fromkeys(trained_by)):
            if (job := claim_of(run_id)) not in jobs:
                jobs.add(job)
                yield from filter(None, [newest_trained(self._ledger.objects, run_id)])
            yield run_id
