"""A run of the collection is under way: skip, wait or fail; one whose process is dead is in nobody's way."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from model_store.claims import claims, under_way
from model_store.claims.claims import Claim, holder_of
from model_store.claims.executions import Execution, claim_prefix, look_up
from model_store.claims.process_identity import ProcessIdentity
from model_store.claims.under_way import Claimant, IfRunning, begin
from model_store.errors import RunClaimedError
from model_store.objects.opening import open_objects
from model_store.objects.protocol import ObjectStore
from tests.servers.memory_objects import MemoryObjects
from tests.servers.stores import ROOT

JOB, OTHER_JOB = "plants-c8c0bef1906f", "plants-0123456789ab"
ALL: tuple[IfRunning, ...] = ("skip", "wait", "fail")


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> MemoryObjects:
    monkeypatch.setattr(under_way, "POLL_S", 0.01)
    return MemoryObjects(uuid.uuid4().hex)


@contextmanager
def beginning(
    objects: ObjectStore, if_running: IfRunning | None, *, job: str = JOB, said: list[str] | None = None
) -> Iterator[Execution | Claimant]:
    with begin(objects, "plants", job, None, if_running, [].append if said is None else said.append) as execution:
        yield execution


@contextmanager
def elsewhere(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, *, lease_s: float, beats: bool) -> Iterator[None]:
    """Hold the claim of another job of the collection for a process of another machine."""
    note = look_up(objects, "plants", OTHER_JOB).note.to_json()
    monkeypatch.setattr(claims, "this_process", lambda: ProcessIdentity("far-away", 7, "another machine", "1"))
    claim = Claim(objects, claim_prefix(OTHER_JOB), "run", lease_s, None, note)
    if not beats:
        claim._stopped.set()
    yield
    claim.release()


@pytest.mark.parametrize("if_running", ALL)
def test_execution_has_its_claim_where_nothing_is_under_way(objects: MemoryObjects, if_running: IfRunning) -> None:
    with beginning(objects, if_running) as execution:
        assert isinstance(execution, Execution)
        with pytest.raises(RunClaimedError), look_up(objects, "plants", JOB).claimed():
            pass
        with execution.claimed() as claim:
            claim.check()
    assert look_up(objects, "plants", JOB).trained is None
    assert look_up(objects, "plants", JOB).run_id > execution.run_id


@pytest.mark.parametrize(
    ("job", "run_id", "in_the_way"),
    [(JOB, None, True), (OTHER_JOB, None, True), (JOB, "mine", True), (JOB, f"{JOB}-20200101T000000Z", True)],
)
def test_skip_names_the_run_of_the_collection_that_is_under_way(
    objects: MemoryObjects, job: str, run_id: str | None, in_the_way: bool
) -> None:
    with look_up(objects, "plants", job, run_id).claimed(), beginning(objects, "skip") as claimant:
        assert isinstance(claimant, Claimant)
        assert claimant.run_id.startswith(run_id or job)
        assert str(claimant).startswith(f"run '{claimant.run_id}' is under way (process ")
        assert claimant.since.endswith("+00:00")
    assert look_up(objects, "plants", JOB).holder is None or job == JOB


def test_runs_of_other_collections_are_not_in_the_way(objects: MemoryObjects) -> None:
    others = look_up(objects, "plants-x", "plants-x-c8c0bef1906f"), look_up(objects, "animals", "a-b", "plants")
    with others[0].claimed(), others[1].claimed(), beginning(objects, "skip") as execution:
        assert isinstance(execution, Execution)


def test_fail_says_what_is_under_way(objects: MemoryObjects) -> None:
    other = look_up(objects, "plants", OTHER_JOB).claimed()
    with other, pytest.raises(RunClaimedError) as failed, beginning(objects, "fail"):
        pass
    assert str(failed.value).startswith(f"collection 'plants': run '{OTHER_JOB}-")
    assert str(failed.value).endswith("wait for it to end, or say --if-running wait or skip")


def test_default_goes_beside_another_configuration(objects: MemoryObjects) -> None:
    with beginning(objects, "fail", job=OTHER_JOB), beginning(objects, None) as execution:
        assert isinstance(execution, Execution)
        with execution.claimed():
            pass


def test_default_is_seen_by_those_that_look(objects: MemoryObjects) -> None:
    with beginning(objects, None, job=OTHER_JOB) as manual:
        assert isinstance(manual, Execution)
        with manual.claimed(), beginning(objects, "skip") as claimant:
            assert isinstance(claimant, Claimant)


def test_waiting_execution_runs_when_the_other_ends(objects: MemoryObjects) -> None:
    said: list[str] = []
    other = look_up(objects, "plants", JOB)
    holding = other.claimed()
    holding.__enter__()
    threading.Timer(0.2, holding.__exit__, (None, None, None)).start()
    with beginning(objects, "wait", said=said) as execution:
        assert isinstance(execution, Execution)
        assert execution.run_id > other.run_id
    [line] = said
    assert line.startswith(f"run '{other.run_id}' is under way (process ")
    assert line.endswith("): waiting for its end")


def test_waiting_execution_says_so_again_and_again(objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "SAY_EVERY_S", 0.0)
    said: list[str] = []
    holding = look_up(objects, "plants", OTHER_JOB).claimed()
    holding.__enter__()

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 3:
            holding.__exit__(None, None, None)

    with begin(objects, "plants", JOB, None, "wait", say):
        assert len(said) == 3


def test_execution_that_lost_the_claim_of_its_collection_waits_again(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was suspended between its two claims, for longer than its lease."""
    others: list[Claim] = []
    look = under_way.look_up

    def suspended(*arguments: Any) -> Execution:
        if not others:
            holder = holder_of(objects, claim_prefix("collection=plants"))
            others.append(Claim(objects, claim_prefix("collection=plants"), "another", 60.0, holder, {"run_id": "x"}))
            monkeypatch.setattr(Claim, "check", lambda claim: claim._beat() or lost(claim))
        return look(*arguments)

    def lost(claim: Claim) -> None:
        if claim._lost:
            raise RunClaimedError("lost")

    def say(line: str) -> None:
        assert line.startswith("run 'x' is under way")
        others[0].release()

    monkeypatch.setattr(under_way, "look_up", suspended)
    with begin(objects, "plants", JOB, None, "wait", say) as execution:
        assert isinstance(execution, Execution)
        assert others[0]._stopped.is_set()


def test_executions_that_wait_run_one_after_the_other(objects: MemoryObjects) -> None:
    at_work, most, runs = 0, 0, []
    lock = threading.Lock()

    def execute(job: str) -> None:
        nonlocal at_work, most
        with beginning(objects, "wait", job=job) as execution:
            assert isinstance(execution, Execution)
            with lock:
                at_work += 1
                most = max(most, at_work)
            threading.Event().wait(0.02)
            with lock:
                at_work -= 1
                runs.append(execution.run_id)

    threads = [threading.Thread(target=execute, args=(job,)) for job in (JOB, OTHER_JOB, JOB, JOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(set(runs))) == (1, 4)


def test_skip_waits_for_a_sign_of_life_of_another_machine(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with elsewhere(objects, monkeypatch, lease_s=0.6, beats=True), beginning(objects, "skip", said=said) as claimant:
        assert isinstance(claimant, Claimant)
        assert claimant.process == "process 7 on far-away"
    assert said[0].endswith("waiting for its next heartbeat, then this run is skipped")


@pytest.mark.parametrize("if_running", ["skip", "wait"])
def test_run_of_a_machine_that_is_gone_is_in_the_way_for_its_lease(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch, if_running: IfRunning
) -> None:
    with elsewhere(objects, monkeypatch, lease_s=0.2, beats=False), beginning(objects, if_running) as execution:
        assert isinstance(execution, Execution)


@pytest.mark.parametrize("if_running", ALL)
def test_run_of_a_killed_process_is_in_nobody_s_way(tmp_path: Path, if_running: IfRunning) -> None:
    code = (
        "import os, signal\nfrom model_store import open_ledger\nfrom model_store.claims.under_way import begin\n"
        f"with begin(open_ledger({str(tmp_path)!r}).objects, 'plants', {JOB!r}, None, 'wait', print) as execution:\n"
        "    print(execution.run_id, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    with beginning(open_objects(str(tmp_path)), if_running) as execution:
        assert isinstance(execution, Execution)
        assert (execution.run_id, execution.is_new) == (done.stdout.strip(), False)


def test_claim_of_the_collection_is_released_with_that_of_the_job(objects: MemoryObjects) -> None:
    with pytest.raises(KeyboardInterrupt), beginning(objects, "skip"):
        raise KeyboardInterrupt
    for name in ("collection=plants", JOB):
        holder = holder_of(objects, claim_prefix(name))
        assert holder is not None and holder.released
