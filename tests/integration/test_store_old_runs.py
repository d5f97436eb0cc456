"""gc and the folders of runs: what a kept version or a running run needs stays, the rest goes when it is old."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from model_store.ledger import gc_runs as old_runs
from model_store.ledger.ledger import Ledger
from model_store.objects.protocol import ObjectInfo
from tests.samples.models import commit
from tests.servers.stores import Place


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a store in which run `run` has committed twice, and `other` and `older` nothing."""
    ledger = Ledger(Place(str(tmp_path / "store")).open())
    for value in (2.0, 1.0):
        commit(ledger, "plants", {"a": value}, run_id="run")
    for run_id in ("run", "other", "older"):
        ledger.run(run_id).create("blocks/1", run_id.encode())
    make_old(ledger)
    return ledger


def make_old(ledger: Ledger, age_s: float = 8 * 24 * 3600.0) -> None:
    for info in list(ledger.objects.list("runs/")):
        path = ledger.objects.local_path(info.key)
        assert path is not None
        os.utime(path, (time.time() - age_s,) * 2)


def runs(ledger: Ledger) -> set[str]:
    return set(ledger.objects.folders("runs/")) if any(ledger.objects.list("runs/")) else set()


def names(ledger: Ledger, run_id: str) -> list[str]:
    return ledger.run(run_id).names()


def test_gc_removes_the_folders_of_runs_that_nothing_needs(ledger: Ledger) -> None:
    foreseen = ledger.gc("plants", keep=1, dry_run=True)
    assert (foreseen.removed_runs, len(names(ledger, "other"))) == (("older", "other"), 1)
    report = ledger.gc("plants", keep=1)
    assert report.removed_runs == ("older", "other")
    assert (names(ledger, "run"), names(ledger, "other"), names(ledger, "older")) == (["blocks/1"], [], [])
    assert ledger.gc("plants", keep=1).removed_runs == ()


def test_gc_keeps_the_runs_that_a_needed_one_took_trials_from(ledger: Ledger) -> None:
    ledger.run("run").create("from/other", b"")
    ledger.run("other").create("from/older", b"")
    make_old(ledger)
    assert ledger.gc("plants", keep=1).removed_runs == ()


def test_gc_keeps_runs_of_other_collections(ledger: Ledger) -> None:
    commit(ledger, "animals", {"a": 1.0}, run_id="other")
    assert ledger.gc("plants", keep=1).removed_runs == ("older",)


def test_gc_keeps_what_a_run_has_written_within_a_week(ledger: Ledger) -> None:
    make_old(ledger, age_s=6 * 24 * 3600.0)
    assert ledger.gc("plants", keep=1).removed_runs == ()
    assert ledger.gc("plants", keep=1, grace_s=5 * 24 * 3600.0).removed_runs == ("older", "other")


def test_gc_keeps_a_run_that_goes_on(ledger: Ledger) -> None:
    with ledger.run("other").claim():
        assert ledger.gc("plants", keep=1).removed_runs == ("older",)
    assert names(ledger, "other") == ["blocks/1"]


def test_gc_leaves_a_run_that_is_claimed_after_it_looked(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    look = old_runs.folders_of_runs

    def claimed_meanwhile(objects: object) -> dict[str, list[ObjectInfo]]:
        found = look(ledger.objects)
        ledger.run("other").claim()
        return found

    monkeypatch.setattr("model_store.ledger.gc.folders_of_runs", claimed_meanwhile)
    assert ledger.gc("plants", keep=1).removed_runs == ("older",)


def test_gc_removes_checkpoints_that_newer_ones_replaced(ledger: Ledger) -> None:
    folder = ledger.run("run")
    for name in ("one", "two"):
        for number in (1, 2, 3):
            folder.create(f"checkpoints/{name}/{number:08d}", b"x")
    report = ledger.gc("plants", keep=1)
    assert report.num_checkpoints == 4
    assert folder.names("checkpoints/") == ["checkpoints/one/00000003", "checkpoints/two/00000003"]


def test_gc_keeps_the_records_of_archives(ledger: Ledger) -> None:
    ledger.run("archives").create("plants/1/x.json", b"{}")
    make_old(ledger)
    ledger.gc("plants", keep=1)
    assert names(ledger, "archives") == ["plants/1/x.json"]


def test_gc_removes_last_what_a_run_wrote_first(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gc that is killed half-way leaves no statement about parts that are gone."""
    deleted: list[str] = []
    for name in ("fleets/k/00000", "fleets/k/complete.json"):
        ledger.run("other").create(name, b"x")
    make_old(ledger)
    delete = ledger.objects.delete
    monkeypatch.setattr(ledger.objects, "delete", lambda key: deleted.append(key) or delete(key))
    ledger.gc("plants", keep=1)
    of_run = [key.removeprefix("runs/other/") for key in deleted if key.startswith("runs/other/")]
    assert of_run == ["fleets/k/complete.json", "fleets/k/00000", "blocks/1"]
