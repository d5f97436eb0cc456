"""Which run an execution of a job is: one that ended is followed by another, one that did not is continued."""

from __future__ import annotations

import json
import re
import uuid

import pytest

from model_store.claims.claims import holder_of, take_claim
from model_store.claims.executions import Execution, RunNote, claim_prefix, forget, look_up, newest_trained
from model_store.claims.process_identity import ProcessIdentity
from model_store.errors import RunClaimedError
from model_store.names import claim_of, job_id, started_run_id
from model_store.objects.protocol import ObjectStore
from tests.servers.memory_objects import MemoryObjects

JOB = "plants-c8c0bef1906f"
FOREVER = 1e12  # a time after every claim


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects(uuid.uuid4().hex)


def begun(objects: ObjectStore, run_id: str | None = None) -> Execution:
    return look_up(objects, "plants", JOB, run_id)


def ended(objects: ObjectStore, run_id: str | None = None, *, trains: bool = True) -> str:
    """Execute the job to its end, and return the id of its run."""
    execution = begun(objects, run_id)
    with execution.claimed():
        if trains:
            execution.has_trained()
    return execution.run_id


def killed(objects: ObjectStore) -> str:
    """Execute the job until it raises, and return the id of its run."""
    execution = begun(objects)
    with pytest.raises(KeyboardInterrupt), execution.claimed():
        raise KeyboardInterrupt
    return execution.run_id


def written_by_an_earlier_gridline(objects: MemoryObjects, name: str, *, released: bool) -> None:
    """Store a claim as it was before claims had notes: of a process that is dead, if it is not released."""
    fields = {"token": "x", "process": {}, "released": released, "lease_s": -60.0, "started_at": 0.0}
    objects.create(f"{claim_prefix(name)}00000000000000000007.json", json.dumps(fields).encode())


def test_run_id_has_the_job_and_the_start() -> None:
    assert started_run_id(JOB, 1795723435.9) == f"{JOB}-20261126T200355Z"
    assert claim_of(f"{JOB}-20261126T200355Z") == JOB


@pytest.mark.parametrize("run_id", ["nightly", JOB, "nightly-20261126T200355Z", f"{JOB}-20261126"])
def test_run_id_of_a_user_has_a_claim_of_its_own(run_id: str) -> None:
    assert claim_of(run_id) == run_id


@pytest.mark.parametrize("last", ["20261126T200355Z", "20261126T235959Z"])
def test_run_id_is_later_than_the_last_one(last: str) -> None:
    later = started_run_id(JOB, 1795723435.0, f"{JOB}-{last}")
    assert later == {"20261126T200355Z": f"{JOB}-20261126T200356Z", "20261126T235959Z": f"{JOB}-20261127T000000Z"}[last]


def test_run_id_of_the_longest_name_is_a_name(objects: MemoryObjects) -> None:
    execution = look_up(objects, "p" * 128, job_id("p" * 128, "0" * 64))
    assert len(execution.run_id) == 128


def test_execution_after_one_that_ended_is_a_new_run(objects: MemoryObjects) -> None:
    first = ended(objects)
    second = begun(objects)
    assert re.fullmatch(rf"{JOB}-\d{{8}}T\d{{6}}Z", first)
    assert second.run_id > first
    assert (second.is_new, second.trained) == (True, first)


def test_execution_after_one_that_was_killed_continues_it(objects: MemoryObjects) -> None:
    first, second = ended(objects), killed(objects)
    assert [killed(objects) for _ in range(2)] == [second] * 2
    third = begun(objects)
    assert (third.run_id, third.is_new, third.trained) == (second, False, first)
    assert ended(objects) == second
    assert begun(objects).run_id > second


def test_run_that_trains_nothing_leaves_the_one_that_did(objects: MemoryObjects) -> None:
    first = ended(objects)
    for _ in range(3):
        ended(objects, trains=False)
    assert begun(objects).trained == first == newest_trained(objects, first)


def test_run_id_of_a_user_is_always_continued(objects: MemoryObjects) -> None:
    assert [ended(objects, "mine") for _ in range(2)] == ["mine", "mine"]
    assert not begun(objects, "mine").is_new
    assert begun(objects).trained is None  # the runs of the job are others


def test_executions_of_a_job_exclude_each_other(objects: MemoryObjects) -> None:
    late = begun(objects)
    with begun(objects).claimed():
        with pytest.raises(RunClaimedError, match=rf"^run '{JOB}-\d+T\d+Z' is claimed by a live process"):
            begun(objects).require_free()
        with pytest.raises(RunClaimedError, match="was just claimed by another process"), late.claimed():
            pass
        with begun(objects, "mine").claimed(), look_up(objects, "plants", "plants-0123456789ab").claimed():
            pass  # other runs


def test_claim_of_many_executions_stays_small(objects: MemoryObjects) -> None:
    for _ in range(20):
        ended(objects)
    assert len(list(objects.list(claim_prefix(JOB)))) == 1


@pytest.mark.parametrize(("released", "is_new"), [(True, True), (False, False)])
def test_run_of_an_earlier_gridline_is_continued_if_it_was_killed(
    objects: MemoryObjects, released: bool, is_new: bool
) -> None:
    written_by_an_earlier_gridline(objects, JOB, released=released)
    execution = begun(objects)
    assert (execution.is_new, execution.trained) == (is_new, JOB)
    assert (execution.run_id == JOB) is not is_new


def test_claim_that_is_not_readable_gives_a_new_run(objects: MemoryObjects) -> None:
    objects.create(f"{claim_prefix(JOB)}00000000000000000001.json", b"rubbish")
    execution = begun(objects)
    assert (execution.is_new, execution.trained, execution.run_id.startswith(f"{JOB}-")) == (True, None, True)
    with pytest.raises(RunClaimedError, match="an unreadable claim"):
        execution.require_free()


def test_forgotten_run_is_neither_continued_nor_used(objects: MemoryObjects) -> None:
    first, second = ended(objects), killed(objects)
    assert forget(objects, first, FOREVER)
    assert (begun(objects).run_id, begun(objects).trained) == (second, None)
    assert forget(objects, second, FOREVER)
    assert begun(objects).run_id > second


def test_run_of_a_job_that_works_is_not_forgotten(objects: MemoryObjects) -> None:
    first = ended(objects)
    with begun(objects).claimed():
        assert not forget(objects, first, FOREVER)
    assert not forget(objects, first, before=0.0)  # the job was executed since
    assert begun(objects).trained == first


def test_claim_that_is_taken_for_a_moment_keeps_its_note(objects: MemoryObjects) -> None:
    first = killed(objects)
    take_claim(objects, claim_prefix(JOB), "gc").release()
    assert begun(objects).run_id == first


def test_note_names_the_run_from_the_first_number_on(objects: MemoryObjects) -> None:
    execution = begun(objects)
    with execution.claimed():
        holder = holder_of(objects, claim_prefix(JOB))
        assert holder is not None and isinstance(holder.process, ProcessIdentity)
        assert RunNote.of(JOB, holder) == RunNote(execution.run_id, "plants", "", ended=False)
