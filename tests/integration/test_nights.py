"""The same job, night after night: each night is a run of its own, which trains only what no earlier run has stored."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.config import JobConfig, SelectConfig
from jobs.reports.past_runs import run_document, run_documents
from jobs.run import id_of
from jobs.trials import earlier_runs
from model_store.errors import RunClaimedError
from model_store.objects.protocol import ObjectInfo, ObjectStore
from tests.samples.jobs import RATES, Jobs
from tests.servers.command_line import run
from tests.servers.inline_cluster import InlineCluster
from tests.servers.memory_objects import MemoryObjects
from tests.servers.stores import Place


@pytest.fixture
def jobs(tmp_path: Path, inline_cluster: InlineCluster) -> Jobs:
    return Jobs(tmp_path, 3)


class Counted(MemoryObjects):
    """Counts its calls, as the requests of a bucket with pages of a thousand keys would be."""

    num_calls = 0

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        self.num_calls += 1
        return super().read(key, start, stop)

    def create(self, key: str, data: bytes) -> bool:
        self.num_calls += 1
        return super().create(key, data)

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        infos = list(super().list(prefix, after, limit))
        self.num_calls += 1 + len(infos) // 1000
        yield from infos

    def delete(self, key: str) -> None:
        self.num_calls += 1
        super().delete(key)


class Kept(Place):
    """A place that opens the same objects each time."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def open(self) -> ObjectStore:
        return self._objects


def make_old(jobs: Jobs, folder: str, age_s: float = 8 * 24 * 3600.0) -> None:
    for path in (jobs.folder / "store" / folder).rglob("*"):
        if "started_at" in (text := path.read_text(errors="replace") if path.is_file() else ""):
            path.write_text(json.dumps(json.loads(text) | {"started_at": time.time() - age_s}))
        os.utime(path, (time.time() - age_s,) * 2)


def test_every_night_is_a_run_of_its_own(jobs: Jobs) -> None:
    nights = []
    for seed in (7, 8, 9):
        jobs.write("b", seed)
        nights.append(jobs.run(jobs.config()))
    assert [(night.computed, night.reused) for night in nights] == [(6, 0), (2, 4), (2, 4)]
    ids = [night.run_id for night in nights]
    assert ids == sorted(set(ids))
    assert [bool(re.fullmatch(rf"{id_of(jobs.config())}-\d{{8}}T\d{{6}}Z", each)) for each in ids] == [True] * 3
    assert jobs.ledger.version("fruit", 1).run_id == ids[0]
    assert {document["run_id"] for document in run_documents(jobs.ledger)[1]} == set(ids)


def test_killed_run_is_continued_under_its_id_and_then_followed_by_another(
    jobs: Jobs, inline_cluster: InlineCluster
) -> None:
    def die(number: int) -> None:
        raise KeyboardInterrupt

    inline_cluster.before = die
    with pytest.raises(KeyboardInterrupt):
        jobs.run(jobs.config())
    inline_cluster.before = lambda number: None
    second, third = jobs.run(jobs.config()), jobs.run(jobs.config())
    assert (jobs.ledger.version("fruit").run_id, second.computed) == (second.run_id, 6)
    assert third.run_id > second.run_id
    assert third.repeats == second.run_id


def test_run_that_was_killed_after_its_commit_is_finished(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("jobs.run.keep_results", die)
        jobs.run(jobs.config())
    again = jobs.run(jobs.config())
    assert (again.run_id, again.committed, again.computed) == (jobs.ledger.version("fruit").run_id, False, 0)
    [document] = run_documents(jobs.ledger)[1]
    assert (document["run_id"], document["num_datasets"], document["repeats"]) == (again.run_id, 3, None)


def test_nights_with_a_changed_dataset_each_train_that_one_alone(
    tmp_path: Path, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more runs have stored trials than one run reads."""
    monkeypatch.setattr(earlier_runs, "MAX_RUNS", 4)
    monkeypatch.setattr(earlier_runs, "MAX_USED", 2)
    jobs = Jobs(tmp_path, 7)
    jobs.run(jobs.config())
    for seed, name in enumerate(jobs.names, start=100):
        jobs.write(name, seed)
        outcome = jobs.run(jobs.config())
        assert (outcome.computed, outcome.reused) == (2, 2 * len(jobs.names) - 2), name


def test_trials_that_no_version_names_are_found_through_the_job_that_stored_them(jobs: Jobs) -> None:
    def config(rates: Sequence[float]) -> JobConfig:
        return jobs.config(rates).model_copy(update={"select": SelectConfig(min_improvement=1e9)})

    assert jobs.run(config(RATES)).committed
    for seed, name in enumerate(jobs.names, start=50):
        jobs.write(name, seed)
    second, third = jobs.run(config(RATES)), jobs.run(config(RATES))
    assert [(night.computed, night.committed) for night in (second, third)] == [(6, False), (0, False)]
    added = jobs.run(config((*RATES, 0.02)))
    assert (added.computed, added.reused) == (3, 6)


def test_night_that_changes_nothing_is_listed_and_shown(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = jobs.run(jobs.config()), jobs.run(jobs.config())
    documents = {document["run_id"]: document for document in run_documents(jobs.ledger)[1]}
    assert documents.keys() == {first.run_id, second.run_id}
    repetition = documents[second.run_id]
    assert (repetition["collection"], repetition["version"], repetition["committed"]) == ("fruit", 1, False)
    assert (repetition["num_datasets"], repetition["repeats"]) == (3, first.run_id)
    shown = run_document(jobs.ledger, second.run_id)
    assert (shown["version"], shown["committed"]) == (1, False)
    assert shown["datasets"] == run_document(jobs.ledger, first.run_id)["datasets"]
    assert shown["configuration"] == json.loads(jobs.config().resolved())
    text = run(capsys, "runs", "show", second.run_id, "--store", jobs.ledger.uri).out
    assert f"nothing had changed since run {first.run_id}" in text
    assert "left fruit version 1" in text


def test_night_that_changes_nothing_costs_the_same_after_many(tmp_path: Path, inline_cluster: InlineCluster) -> None:
    objects = Counted(uuid.uuid4().hex)
    jobs = Jobs(tmp_path, 3, Kept(objects))
    jobs.run(jobs.config())
    costs = []
    for _ in range(8):
        before = objects.num_calls
        assert jobs.run(jobs.config()).repeats
        costs.append(objects.num_calls - before)
    assert len(set(costs[1:])) == 1
    print(f"{costs[-1]} requests of a night that changes nothing")


def test_run_of_an_earlier_gridline_is_used(jobs: Jobs) -> None:
    """Its id has no start, and its claim says nothing of it."""
    old = id_of(jobs.config())
    jobs.run(jobs.config(), run_id=old)
    for path in (jobs.folder / "store/claims").rglob("*.json"):
        path.write_text(
            json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "note"})
        )
    second = jobs.run(jobs.config())
    assert (second.run_id > old, second.computed, second.repeats) == (True, 0, old)


def test_executions_of_one_configuration_exclude_each_other(jobs: Jobs) -> None:
    first = jobs.run(jobs.config())
    with jobs.ledger.run(first.run_id).claim():
        for run_id in (None, first.run_id):
            with pytest.raises(RunClaimedError, match=rf"^run '{first.run_id}' is claimed by a live process"):
                jobs.run(jobs.config(), run_id=run_id)
        assert jobs.run(jobs.config((0.1,))).exit_code == 0
        skipped = jobs.run(jobs.config((0.1,)), if_running="skip")
    assert (skipped.exit_code, skipped.version, skipped.committed, skipped.run_id) == (0, 2, False, "")
    assert skipped.skipped is not None
    assert skipped.skipped.run_id == first.run_id


def test_gc_keeps_the_trials_of_a_job_that_runs_every_night(jobs: Jobs) -> None:
    jobs.run(jobs.config())
    for seed, name in enumerate(jobs.names, start=50):
        jobs.write(name, seed)
    jobs.run(jobs.config(training={"epochs": 1}))
    worse = jobs.run(jobs.config(training={"epochs": 1, "seed": 5}))  # that no version names
    assert not worse.committed
    jobs.run(jobs.config(training={"epochs": 1, "seed": 5}))
    make_old(jobs, "runs")
    report = jobs.ledger.gc("fruit", keep=1)
    assert worse.run_id not in report.removed_runs
    assert jobs.run(jobs.config(training={"epochs": 1, "seed": 5})).computed == 0


def test_gc_removes_the_runs_of_a_job_that_rested_for_a_week(jobs: Jobs) -> None:
    jobs.run(jobs.config())
    for seed, name in enumerate(jobs.names, start=50):
        jobs.write(name, seed)
    config = jobs.config(training={"epochs": 1})
    worse, repeated = jobs.run(config), jobs.run(config)
    make_old(jobs, "")
    assert set(jobs.ledger.gc("fruit", keep=1).removed_runs) == {worse.run_id, repeated.run_id}
    again = jobs.run(config)
    assert (again.computed, again.run_id > repeated.run_id) == (6, True)


def test_gc_keeps_the_runs_of_a_job_that_works(jobs: Jobs) -> None:
    first = jobs.run(jobs.config())
    make_old(jobs, "")
    with jobs.ledger.run(first.run_id).claim():
        report = jobs.ledger.gc("fruit", keep=1, grace_s=0.0)
    assert (report.live_runs, report.removed_runs) == ((first.run_id,), ())
