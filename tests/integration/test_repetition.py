"""A job that repeats itself reads nothing again, and says what it said before; whatever changed makes it look again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs import run as job_run
from jobs.sources.job_datasets import ResolvedJob
from model_store.errors import RunClaimedError
from tests.samples.jobs import RATES, Jobs
from tests.servers.inline_cluster import InlineCluster


@pytest.fixture
def jobs(tmp_path: Path, inline_cluster: InlineCluster) -> Jobs:
    jobs = Jobs(tmp_path, 3)
    wait_until_settled(jobs)
    jobs.run(jobs.config())
    return jobs


def wait_until_settled(jobs: Jobs) -> None:
    """Return when every file was written long enough ago for its time of change to tell."""
    newest = max(path.stat().st_ctime_ns for path in jobs.folder.glob("*.csv"))
    while time.time_ns() - newest < 200_000_000:
        pass


@pytest.fixture
def num_readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that has one item for each time that a job reads its datasets."""
    readings: list[int] = []
    read = ResolvedJob.read
    monkeypatch.setattr(ResolvedJob, "read", lambda job: readings.append(1) or read(job))
    return readings


@pytest.mark.parametrize("run_id", [None, "another"])
def test_repetition_reads_nothing_and_says_the_same(jobs: Jobs, num_readings: list[int], run_id: str | None) -> None:
    again = jobs.run(jobs.config(), run_id=run_id)
    assert num_readings == []
    assert (again.computed, again.reused, again.committed, again.version) == (0, 6, False, 1)
    assert [(d["dataset"], d["status"], len(d["trials"])) for d in again.documents()] == [
        (name, "kept", len(RATES)) for name in jobs.names
    ]
    read = jobs.run(jobs.config(), dry_run=True)
    assert [d["best"] for d in again.documents()] == [d["best"] for d in read.documents()]


def test_run_that_changes_nothing_writes_one_small_object(tmp_path: Path, inline_cluster: InlineCluster) -> None:
    jobs = Jobs(tmp_path, 3)
    first = jobs.run(jobs.config()).run_id  # maybe before the files have settled: then it is not remembered
    stored = {path for path in (tmp_path / "store" / "runs").rglob("*") if path.is_file()}
    wait_until_settled(jobs)
    again = [jobs.run(jobs.config()) for _ in range(2)]
    assert not any(each.computed for each in again)
    new = sorted({path for path in (tmp_path / "store" / "runs").rglob("*") if path.is_file()} - stored)
    assert [(path.parent.name, path.name) for path in new] == [(each.run_id, "repetition.json") for each in again]
    assert all(f'"repeats": "{first}"' in path.read_text() and path.stat().st_size < 300 for path in new)


def test_repetition_reads_again_what_was_written_anew(jobs: Jobs, num_readings: list[int]) -> None:
    jobs.write("b", seed=77)
    again = jobs.run(jobs.config())
    assert num_readings == [1]
    assert (again.computed, again.reused) == (2, 4)


def test_repetition_reads_again_for_other_settings(jobs: Jobs, num_readings: list[int]) -> None:
    assert jobs.run(jobs.config((*RATES, 0.02))).computed == 3
    assert num_readings == [1]


def test_repetition_reads_again_when_another_run_has_committed(jobs: Jobs, num_readings: list[int]) -> None:
    assert jobs.run(jobs.config((0.1, 0.2))).committed
    jobs.run(jobs.config())
    assert num_readings == [1, 1]


def test_repetition_over_an_object_that_is_corrupt_reads_again(jobs: Jobs, num_readings: list[int]) -> None:
    for path in (jobs.folder / "store" / "runs").glob("*/outcomes/*"):
        path.write_bytes(path.read_bytes()[:-1])
    assert jobs.run(jobs.config()).exit_code == 0
    assert num_readings == [1]


def test_repetition_of_a_run_that_another_process_works_on_is_refused(jobs: Jobs) -> None:
    run_id = job_run.id_of(jobs.config())
    with jobs.ledger.run(run_id).claim(), pytest.raises(RunClaimedError):
        jobs.run(jobs.config())
