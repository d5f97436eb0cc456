from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from handler.hosting.endpoint import Endpoint
from handler.hosting.metrics import Metrics
from handler.hosting.own_file import start_of_process
from handler.hosting.worker_report import WorkerReport
from handler.models.fleet import Fleet
from handler.requests.payload import Request
from model_store.claims.process_identity import start_of
from model_store.status.reports import Served, Sums, WorkerReports

REQUESTS_OK = ("gridline_requests_total", (("collection", "stores"), ("outcome", "ok")))
IN_FLIGHT = ("gridline_requests_in_flight", (("collection", "stores"),))


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    """A live process that writes no report itself."""
    process = subprocess.Popen(["sleep", "300"])
    yield process
    process.kill()
    process.wait()


def write_report(control: Path, pid: int, num_requests: int, version: int = 1) -> Path:
    """Write the report of a process as its worker would: some good requests, and one in flight."""
    metrics = Metrics()
    metrics.count("gridline_requests_total", num_requests, outcome="ok")
    metrics.observe("gridline_request_seconds", 0.0003, outcome="ok")
    metrics.add("gridline_requests_in_flight", 1)
    served = {"collection": "stores", "version": version, "num_datasets": 4, "committed_at": 1.0}
    document = {"format": 1, "served": [served], "counted": [{"collection": "stores"} | metrics.snapshot()]}
    path = control / "workers" / f"{pid}-{start_of(pid)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def ended_workers(sums: Sums) -> dict[str, float]:
    """Return how many workers of each version have ended."""
    name = "gridline_workers_ended_total"
    return {dict(labels)["version"]: value for (of, labels), value in sums.counters.items() if of == name}


def test_the_reports_of_live_workers_add_up(tmp_path: Path, other_process: subprocess.Popen[bytes]) -> None:
    write_report(tmp_path, os.getpid(), 2)
    write_report(tmp_path, other_process.pid, 3)
    sums = WorkerReports(tmp_path).read()
    assert sums.counters[REQUESTS_OK] == sums.num_answers("stores") == 5
    assert sums.num_answers("others") == 0
    assert sums.gauges[IN_FLIGHT] == 2
    assert sums.num_workers == {Served("stores", 1, 4, 1.0): 2}
    [histogram] = sums.histograms.values()
    assert sum(histogram.counts) == 2
    assert histogram.sum == pytest.approx(0.0006)


def test_a_worker_that_ended_keeps_its_counts_and_loses_its_gauges(
    tmp_path: Path, other_process: subprocess.Popen[bytes]
) -> None:
    reports = WorkerReports(tmp_path)
    write_report(tmp_path, os.getpid(), 2)
    path = write_report(tmp_path, other_process.pid, 3, version=2)
    assert reports.read().counters[REQUESTS_OK] == 5
    other_process.kill()
    other_process.wait()
    for _ in range(2):
        sums = reports.read()
        assert sums.counters[REQUESTS_OK] == 5
        assert sums.gauges[IN_FLIGHT] == 1
        assert sums.num_workers == {Served("stores", 1, 4, 1.0): 1}
        assert sum(sums.histograms.popitem()[1].counts) == 2
        assert ended_workers(sums) == {"1": 0}
    assert not path.exists()


def test_workers_that_ended_are_counted_while_their_version_has_others(
    tmp_path: Path, other_process: subprocess.Popen[bytes]
) -> None:
    reports = WorkerReports(tmp_path)
    write_report(tmp_path, os.getpid(), 2)
    write_report(tmp_path, other_process.pid, 3)
    assert ended_workers(reports.read()) == {"1": 0}
    other_process.kill()
    other_process.wait()
    assert ended_workers(reports.read()) == {"1": 1}
    assert ended_workers(reports.read()) == {"1": 1}


def test_a_process_that_got_the_id_of_a_worker_is_another(tmp_path: Path) -> None:
    path = write_report(tmp_path, os.getpid(), 2)
    path.rename(path.with_name(f"{os.getpid()}-1.json"))
    sums = WorkerReports(tmp_path).read()
    assert sums.counters[REQUESTS_OK] == 2
    assert not sums.gauges


def test_a_report_that_can_neither_be_read_nor_removed_does_no_harm(
    tmp_path: Path, other_process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = WorkerReports(tmp_path)
    write_report(tmp_path, other_process.pid, 3)
    (tmp_path / "workers" / "7-7.json").write_text("{")
    (tmp_path / "workers" / f"{os.getpid()}-{start_of_process()}.json").write_text('{"format": 99}')
    other_process.kill()
    other_process.wait()

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    assert reports.read().counters[REQUESTS_OK] == 3
    assert reports.read().counters[REQUESTS_OK] == 3


def test_a_new_server_forgets_the_reports_of_the_former(tmp_path: Path, other_process: subprocess.Popen[bytes]) -> None:
    write_report(tmp_path, other_process.pid, 3)
    reports = WorkerReports(tmp_path)
    reports.forget()
    assert reports.read() == Sums()


def test_a_worker_s_own_report_is_read(stores_fleet: Fleet, tmp_path: Path) -> None:
    endpoint = Endpoint(stores_fleet)
    endpoint.respond([Request(b'{"dataset": "north", "instances": [[3, 1]]}')])
    WorkerReport(lambda: [endpoint], tmp_path).write()
    sums = WorkerReports(tmp_path).read()
    assert sums.counters[REQUESTS_OK] == 1
    [served] = sums.num_workers
    assert (served.collection, served.version, served.num_datasets) == ("stores", 1, 4)
