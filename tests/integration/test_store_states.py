"""The ledger against a dict, through commits, rollbacks, gc, crashes in the middle of a write, and restarts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from model_store.claims import claims
from model_store.claims.process_identity import this_process
from model_store.errors import UnknownVersionError
from model_store.ledger.ledger import Ledger
from model_store.objects.folder import FolderObjects
from model_store.objects.protocol import ObjectInfo
from tests.samples.models import commit, store_rows, values_of

DATASETS = ("a", "b", "c")
VALUES = st.dictionaries(st.sampled_from(DATASETS), st.integers(1, 40).map(float), min_size=1)
SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1"))


class Crash(BaseException):
    """The end of a process: nothing catches it."""


class MortalFolder(FolderObjects):
    """A folder that ends the process before or after one of its next writes, and answers nothing from then on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.writes_left: int | None = None
        self.after = False
        self.is_dead = False

    def create(self, key: str, data: bytes) -> bool:
        return self._mortal(lambda: super(MortalFolder, self).create(key, data))

    def put(self, key: str, data: bytes) -> None:
        self._mortal(lambda: super(MortalFolder, self).put(key, data))

    def delete(self, key: str) -> None:
        self._mortal(lambda: super(MortalFolder, self).delete(key))

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        if self.is_dead:
            raise Crash
        return super().list(prefix, after, limit)

    def _mortal(self, write: Callable[[], Any]) -> Any:
        if self.is_dead:
            raise Crash
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left < 0:
                self.is_dead = True
                if self.after:
                    write()
                raise Crash
        return write()


class LedgerMachine(RuleBasedStateMachine):
    """`versions` is the model: what each version predicts; `kept_from` the oldest that gc has left whole."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.versions: list[dict[str, float]] = []
        self.kept_from = 1
        self.patch = pytest.MonkeyPatch()

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    @initialize()
    def restart(self) -> None:
        """Begin a new process; those of before are known dead."""
        self.patch.setattr(claims, "this_process", lambda: replace(this_process(), started="an earlier life"))
        self.objects = MortalFolder(Path(self.folder.name))
        self.ledger = Ledger(self.objects)

    @rule(values=VALUES)
    def commit(self, values: dict[str, float]) -> None:
        expected = self.merged(values)
        version = commit(self.ledger, "plants", values)
        assert (version is None) == (expected == self.head())
        if version is not None:
            self.versions.append(expected)
            assert version.number == len(self.versions)

    @precondition(lambda self: self.versions)
    @rule(back=st.integers(0, 5))
    def roll_back(self, back: int) -> None:
        number = max(1, len(self.versions) - back)
        try:
            version = self.ledger.rollback("plants", number)
        except UnknownVersionError:
            assert number < self.kept_from
            return
        if number < len(self.versions):
            self.versions.append(self.versions[number - 1])
        assert version.number == len(self.versions)

    @precondition(lambda self: self.versions)
    @rule(keep=st.integers(1, 4), dry_run=st.booleans())
    def gc(self, keep: int, dry_run: bool) -> None:
        for info in self.objects.list("blobs/"):
            os.utime(Path(self.folder.name) / info.key, (1e9, 1e9))
        report = self.ledger.gc("plants", keep, dry_run, grace_s=0)
        if not dry_run:
            self.kept_from = report.oldest_kept

    @rule(values=VALUES)
    def prepare_a_commit_that_never_comes(self, values: dict[str, float]) -> None:
        store_rows(self.ledger, values)

    @rule(writes_left=st.integers(0, 8), after=st.booleans(), values=VALUES, collect=st.booleans())
    def crash(self, writes_left: int, after: bool, values: dict[str, float], collect: bool) -> None:
        self.objects.writes_left, self.objects.after = writes_left, after
        try:
            if collect and self.versions:
                self.gc(1, False)
            else:
                commit(self.ledger, "plants", values)
        except Crash:
            pass
        self.restart()
        self.learn_what_happened(values)

    def learn_what_happened(self, values: dict[str, float]) -> None:
        """A crash in a commit leaves the version whole or not there; one in gc may leave less than before."""
        head = self.ledger.head("plants")
        if head is not None and head.number > len(self.versions):
            self.versions.append(self.merged(values))
        if head is not None:
            self.kept_from = self.ledger.gc("plants", len(self.versions), dry_run=True).oldest_kept

    @invariant()
    def every_kept_version_is_what_it_was(self) -> None:
        fresh = Ledger(FolderObjects(Path(self.folder.name)))
        head = fresh.head("plants")
        assert (head.number if head else 0) == len(self.versions)
        for number in range(self.kept_from, len(self.versions) + 1):
            assert values_of(fresh, "plants", number) == self.versions[number - 1]
        assert not self.versions or fresh.verify("plants") == []

    def head(self) -> dict[str, float]:
        return self.versions[-1] if self.versions else {}

    def merged(self, values: dict[str, float]) -> dict[str, float]:
        champions = self.head()
        return champions | {name: min(value, champions.get(name, value)) for name, value in values.items()}


LedgerMachine.TestCase.settings = settings(
    max_examples=10, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
test_ledger_is_a_dict_whatever_happens = LedgerMachine.TestCase


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ledger_is_a_dict_for_longer() -> None:
    machine_settings = settings(
        max_examples=max(25, int(400 * SCALE)),
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(LedgerMachine, settings=machine_settings)
