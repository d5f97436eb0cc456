from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from handler.hosting import worker_report
from handler.hosting.endpoint import Endpoint
from handler.hosting.metrics import REQUESTS
from handler.hosting.own_file import start_of_process
from handler.hosting.worker_report import WorkerReport, every_second
from handler.models.fleet import Fleet
from handler.requests.payload import Request


def test_a_report_says_what_is_served_and_what_was_counted(stores_fleet: Fleet, tmp_path: Path) -> None:
    endpoint = Endpoint(stores_fleet)
    endpoint.respond([Request(b"{")])
    WorkerReport(lambda: [endpoint], tmp_path).write()
    path = tmp_path / "workers" / f"{os.getpid()}-{start_of_process()}.json"
    document = json.loads(path.read_text())
    [served], [counted] = document["served"], document["counted"]
    assert (served["collection"], served["version"], served["num_datasets"]) == ("stores", 1, 4)
    assert served["committed_at"] > 1.7e9
    assert counted["collection"] == "stores"
    assert ["gridline_requests_total", {"outcome": "bad_request"}, 1] in counted["counters"]
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_report_keeps_what_an_endpoint_counted_that_the_worker_no_longer_serves(
    stores_fleet: Fleet, tmp_path: Path
) -> None:
    serving = [Endpoint(stores_fleet)]
    report = WorkerReport(lambda: serving, tmp_path)
    serving[0].respond([Request(b"{")])
    report.write()
    serving[0] = Endpoint(stores_fleet)
    report.write()
    serving.clear()
    report.write()
    [path] = (tmp_path / "workers").iterdir()
    document = json.loads(path.read_text())
    assert document["served"] == []
    counted = [value for one in document["counted"] for name, _, value in one["counters"] if name == REQUESTS]
    assert sum(counted) == 1


def test_a_report_is_written_when_something_changed_or_for_a_heartbeat(
    stores_fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint(stores_fleet)
    report = WorkerReport(lambda: [endpoint], tmp_path)
    report.write()
    [path] = (tmp_path / "workers").iterdir()
    path.unlink()
    report.write()
    assert not path.exists()
    endpoint.respond([Request(b"{")])
    report.write()
    assert path.exists()
    path.unlink()
    monkeypatch.setattr(worker_report, "HEARTBEAT_S", 0.0)
    report.write()
    assert path.exists()


def test_a_report_that_cannot_be_written_is_written_later(stores_fleet: Fleet, tmp_path: Path) -> None:
    control = tmp_path / "control"
    control.write_text("a file where the folder should be")
    report = WorkerReport(list, control)
    report.write()
    control.unlink()
    report.write()
    assert len(list((control / "workers").iterdir())) == 1


def test_functions_are_called_every_second_beside_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_report, "INTERVAL_S", 0.001)
    called = threading.Event()
    every_second([called.set])
    assert called.wait(10)
    called.clear()
    assert called.wait(10)
