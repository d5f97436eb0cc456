from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from handler.hosting.metrics import Metrics
from handler.hosting.worker_report import WorkerReport
from handler.requests.payload import Request
from model_store.deployment.errors import ServerError
from model_store.status.example_probe import ExampleProbe
from model_store.status.reports import WorkerReports
from model_store.status.self_check import Schedule, SelfCheck
from tests.servers.both_apis import FakeServer


@dataclass
class FakeCures:
    """What was done with a server; `on_workers` and `on_server` say what that changes."""

    on_workers: Callable[[], None] = lambda: None
    on_server: Callable[[], None] = lambda: None
    ending: str | None = None
    at_rest: bool = True
    ending_on_purpose: bool = False
    done: list[str] = field(default_factory=list)

    def is_ending(self) -> bool:
        return self.ending_on_purpose

    def has_ended(self) -> str | None:
        return self.ending

    def remember(self) -> None:
        self.done.append("remember")

    def restart_workers(self, collection: str) -> bool:
        if not self.at_rest:
            return False
        self.done.append(f"workers of {collection}")
        self.on_workers()
        return True

    def restart_server(self) -> None:
        self.done.append("server")
        self.ending = None
        self.on_server()

    def give_up(self, reason: str) -> None:
        self.done.append(f"give up: {reason}")


class Checked:
    """A self check of a server in this process."""

    def __init__(self, server: FakeServer, control: Path, schedule: Schedule) -> None:
        self.server = server
        self.cures = FakeCures()
        self.metrics = Metrics()
        self.worker = WorkerReport(server.endpoints.values, control)
        self.check = SelfCheck(self.cures, ExampleProbe(server, server), WorkerReports(control), self.metrics, schedule)

    def look(self, times: int = 1) -> bool:
        is_well = False
        for _ in range(times):
            self.worker.write()
            is_well = self.check.look()
        return is_well

    def counters(self) -> dict[tuple[str, ...], float]:
        return {(name, *labels.values()): value for name, labels, value in self.metrics.snapshot()["counters"]}


@pytest.fixture
def checked(server: FakeServer, tmp_path: Path) -> Checked:
    return Checked(server, tmp_path, Schedule())


def test_a_server_that_answers_is_remembered_and_left_alone(checked: Checked) -> None:
    assert checked.look(3)
    assert checked.cures.done == ["remember"] * 3
    assert checked.counters() == {
        ("gridline_self_checks_total", "stores", "ok"): 3,
        ("gridline_self_checks_total", "stores", "failed"): 0,
        ("gridline_restarts_total", "workers"): 0,
        ("gridline_restarts_total", "server"): 0,
    }


def test_workers_are_restarted_when_their_collection_did_not_answer_twice(checked: Checked) -> None:
    checked.cures.on_workers = checked.server.broken.clear
    checked.look()
    checked.server.broken["stores"] = "no answer within 5 s"
    checked.look()
    assert checked.cures.done == ["remember"]
    checked.look()
    assert checked.cures.done == ["remember", "workers of stores"]
    assert checked.look()
    assert checked.counters()["gridline_restarts_total", "workers"] == 1


def test_the_server_is_restarted_when_new_workers_do_not_answer_either(checked: Checked) -> None:
    checked.server.broken["stores"] = "no answer within 5 s"
    checked.cures.on_server = checked.server.broken.clear
    checked.look(2)
    assert checked.cures.done == ["workers of stores", "server"]
    assert checked.look()


def test_the_server_is_restarted_when_its_management_does_not_answer(checked: Checked) -> None:
    checked.server.down = "it can't be reached"
    assert not checked.look()
    assert checked.cures.done == []
    checked.look()
    assert checked.cures.done == ["server"]


def test_one_answer_between_two_failures_is_enough(checked: Checked) -> None:
    for _ in range(3):
        checked.server.down = "it can't be reached"
        checked.look()
        checked.server.down = None
        checked.look()
    assert checked.cures.done == ["remember"] * 3


def test_a_server_that_ended_is_started_at_once(checked: Checked) -> None:
    checked.cures.ending = "it ended with code 137"
    checked.look()
    assert checked.cures.done == ["server"]


def test_a_collection_that_answers_others_is_only_busy(checked: Checked) -> None:
    checked.look()
    checked.server.broken["stores"] = "no answer within 5 s"
    for _ in range(5):
        checked.look()
        checked.server.endpoints["stores"].respond([Request(b"{")])
    assert checked.cures.done == ["remember"]
    checked.look(3)
    assert checked.cures.done[1] == "workers of stores"


def test_a_collection_that_is_being_deployed_is_left_alone(checked: Checked) -> None:
    checked.cures.at_rest = False
    checked.server.broken["stores"] = "its workers start"
    checked.look(5)
    assert checked.cures.done == []


def test_a_server_that_is_stopped_is_left_alone(checked: Checked) -> None:
    checked.cures.ending_on_purpose = True
    checked.server.down, checked.cures.ending = "it can't be reached", "it ended with code 0"
    checked.look(5)
    assert checked.cures.done == []


def test_workers_that_need_it_too_often_lead_to_a_restart_of_the_server(checked: Checked) -> None:
    def heal() -> None:
        checked.server.broken.clear()

    checked.cures.on_workers = heal
    for _ in range(4):
        checked.server.broken["stores"] = "no answer within 5 s"
        checked.look(2)
    assert checked.cures.done == ["workers of stores"] * 3 + ["server"]


def test_a_server_that_no_restart_helps_is_given_up(checked: Checked) -> None:
    checked.server.down = "it can't be reached"
    checked.look(10)
    assert checked.cures.done[:3] == ["server"] * 3
    [given_up] = checked.cures.done[3:]
    assert given_up.startswith("give up: it was restarted 3 times within 600 s, and again: it can't be reached")


def test_a_restart_that_fails_is_tried_again(checked: Checked) -> None:
    def fail() -> None:
        checked.cures.ending = "it ended with code 1"
        raise ServerError("no such program")

    checked.cures.on_server = fail
    checked.cures.ending = "it ended with code 137"
    checked.look(10)
    assert checked.cures.done[:3] == ["server"] * 3
    assert len(checked.cures.done) == 4


def test_a_check_runs_beside_the_server_until_its_block_ends(server: FakeServer, tmp_path: Path) -> None:
    checked = Checked(server, tmp_path, Schedule(interval_s=0.001))
    twice = threading.Semaphore(0)
    checked.cures.remember = twice.release  # type: ignore[method-assign]
    with checked.check:
        assert all(twice.acquire(timeout=10) for _ in range(2))
